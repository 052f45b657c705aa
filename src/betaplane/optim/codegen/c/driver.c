/* Goes over a list of tensors in chunks, which threads share, pass after pass. c_source.py fills in the capitals. */
static inline i64 blocks_of(i64 n, i64 row) { return row ? n / row * ((row + LENGTH - 1) / LENGTH) : 0; }
void step(i64 count, const i64 *size, const i64 *row, const i64 *which, const i64 *seed, void **p,
          const double *s, i64 scalars, double *red, i64 threads) {
  i64 *start = malloc((count + 1) * sizeof(i64));
  start[0] = 0;
  for (i64 t = 0; t < count; t++) start[t + 1] = start[t] + (blocks_of(size[t], row[t]) + BLOCKS - 1) / BLOCKS;
  const i64 chunks = start[count];
  double *part = malloc((chunks * MOST + 1) * sizeof(double));
  for (i64 t = 0; t < count; t++) red[t * RED] = size[t];
PASSES
  free(part);
  free(start);
}
