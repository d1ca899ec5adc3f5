"""What several sources are read with: frames, pickles, TFRecords, tables, models of hands, replayed demonstrations."""
