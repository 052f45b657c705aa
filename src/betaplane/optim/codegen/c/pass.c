    /* One pass over all chunks, in the opposite direction of the one before, whose last elements are in the cache. */
SMALL
    #pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (chunks > 4)
    for (i64 turn = 0; turn < chunks; turn++) {
      const i64 c = BACKWARD ? chunks - 1 - turn : turn;
      i64 t = first, after = end;
      while (after - t > 1) { i64 mid = (t + after) / 2; if (start[mid] <= c) t = mid; else after = mid; }
      work *w = works + t;
      double *acc = part + c * PARTS;
      for (i64 i = 0; i < PARTS; i++) acc[i] = 0;
      const i64 own = c - start[t], group = own / w->group_chunks, from_block = own % w->group_chunks * w->per_chunk;
      i64 b = group * w->per_group + from_block;
      const i64 stop = from_block + w->per_chunk < w->per_group ? b + w->per_chunk : (group + 1) * w->per_group;
      real *sums = slot + w->slots + own * w->columns * COLUMN_SUMS;
      for (; b < stop; b++) {
        const i64 from = b % w->per_line * LENGTH, at = b / w->per_line * w->line + from;
        const i64 n = w->line - from < LENGTH ? w->line - from : LENGTH;
        const i64 row = SHAPED ? at / w->columns : 0, matrix = SHAPED ? row / w->rows : 0, column = SHAPED ? at % w->columns : 0;
        double of_row[ROWS_K + 1] = {0};
        const double *own_s = s + which[t] * scalars;
        if (n == LENGTH) passK(LENGTH, at, row, matrix, column, p + t, count, b, seed[t], own_s, w, acc, of_row, sums);
        else passK(n, at, row, matrix, column, p + t, count, b, seed[t], own_s, w, acc, of_row, sums);
        for (i64 i = 0; i < ROWS_K; i++)
          *(w->chunk == PART_OF_ROW ? acc + SCALARS_K + i : w->row_sum + (FIRST_ROW + i) * w->all_rows + row) += of_row[i];
        if (COLUMNS_K && w->chunk == MATRICES && at + n == (matrix + 1) * w->rows * w->columns)
          for (i64 i = 0; i < COLUMNS_K; i++) {
            add_columns(w->column_sum + (FIRST_COLUMN + i) * w->all_columns + matrix * w->columns, sums + i * w->columns, w->columns);
            memset(sums + i * w->columns, 0, w->columns * sizeof(real));
          }
      }
    }
    for (i64 t = first; t < end; t++) for (i64 c = start[t]; c < start[t + 1]; c++) {
      work *w = works + t;
      const i64 group = (c - start[t]) / w->group_chunks;
      for (i64 i = 0; i < SCALARS_K; i++) w->scalar[FIRST_SCALAR + i] += part[c * PARTS + i];
      if (ROWS_K && w->chunk == PART_OF_ROW)
        for (i64 i = 0; i < ROWS_K; i++) w->row_sum[(FIRST_ROW + i) * w->all_rows + group] += part[c * PARTS + SCALARS_K + i];
      if (COLUMNS_K && w->chunk == ROWS) {
        real *sums = slot + w->slots + (c - start[t]) * w->columns * COLUMN_SUMS;
        for (i64 i = 0; i < COLUMNS_K; i++) {
          add_columns(w->column_sum + (FIRST_COLUMN + i) * w->all_columns + group * w->columns, sums + i * w->columns, w->columns);
          memset(sums + i * w->columns, 0, w->columns * sizeof(real));
        }
      }
    }
