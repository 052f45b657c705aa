/* The sum of the squares of a list of tensors, in the same order whatever the threads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
static inline float of_bf16(uint16_t h) { uint32_t b = (uint32_t)h << 16; float f; memcpy(&f, &b, 4); return f; }
double squares(int64_t count, const int64_t *n, TYPE **p, int64_t threads) {
  int64_t *start = malloc((count + 1) * sizeof(int64_t));
  start[0] = 0;
  for (int64_t t = 0; t < count; t++) start[t + 1] = start[t] + (n[t] + 16383) / 16384;
  const int64_t chunks = start[count];
  double *part = malloc((chunks + 1) * sizeof(double)), sum = 0;
  #pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (chunks > 4)
  for (int64_t c = 0; c < chunks; c++) {
    int64_t t = 0, end = count;
    while (end - t > 1) { int64_t mid = (t + end) / 2; if (start[mid] <= c) t = mid; else end = mid; }
    const int64_t at = (c - start[t]) * 16384;
    const int m = n[t] - at < 16384 ? n[t] - at : 16384;
    const TYPE *x = p[t] + at;
    double all = 0;
    for (int from = 0; from < m; from += 1024) {
      SUM some = 0;
      const int to = from + 1024 < m ? from + 1024 : m;
      #pragma omp simd reduction(+:some)
      for (int i = from; i < to; i++) some += (SUM)LOAD(x[i]) * (SUM)LOAD(x[i]);
      all += some;
    }
    part[c] = all;
  }
  for (int64_t c = 0; c < chunks; c++) sum += part[c];
  free(part);
  free(start);
  return sum;
}
