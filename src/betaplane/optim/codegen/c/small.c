    #pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (end - first > 1)
    for (i64 t = first; t < end; t++) smallK(p + t, count, s + which[t] * scalars, works + t);
