/* One pass over all chunks; the sums it takes are added up in the order of the chunks, whatever the threads. */
  #pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (chunks > 4)
  for (i64 c = 0; c < chunks; c++) {
    i64 t = 0, end = count;
    while (end - t > 1) { i64 mid = (t + end) / 2; if (start[mid] <= c) t = mid; else end = mid; }
    const i64 in = row[t], a_row = (in + LENGTH - 1) / LENGTH, all = blocks_of(size[t], in);
    double *acc = part + c * MOST;
    for (i64 i = 0; i < COUNT; i++) acc[i] = 0;
    i64 b = (c - start[t]) * BLOCKS, last = b + BLOCKS < all ? b + BLOCKS : all;
    for (; b < last; b++) {
      const i64 from = b % a_row * LENGTH, at = b / a_row * in + from, n = in - from < LENGTH ? in - from : LENGTH;
      const double *own = s + which[t] * scalars;
      if (n == LENGTH) passK(LENGTH, at, p + t, count, b, seed[t], own, red + t * RED, acc);
      else passK(n, at, p + t, count, b, seed[t], own, red + t * RED, acc);
    }
  }
  for (i64 t = 0; t < count; t++) for (i64 i = 0; i < COUNT; i++) {
    double sum = 0;
    for (i64 c = start[t]; c < start[t + 1]; c++) sum += part[c * MOST + i];
    red[t * RED + 1 + FIRST + i] = sum;
  }
