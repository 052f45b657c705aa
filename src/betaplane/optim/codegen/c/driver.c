/* Steps a list of tensors. c_source.py fills in the capitals. A tensor is a batch of matrices, of rows and columns. It
   is gone over in blocks of at most LENGTH elements of one line, several times if sums are needed: pass after pass. A
   chunk is some neighboring blocks: of one row (PART_OF_ROW), rows of one matrix (ROWS), or whole matrices (MATRICES).
   Threads share the chunks, and sums are added up in the order of the chunks, whatever the threads. */
enum { MATRICES, ROWS, PART_OF_ROW };
static void start_work(work *w, const i64 *geometry) {
  w->line = geometry[1]; w->columns = geometry[2]; w->rows = geometry[3];
  w->per_chunk = geometry[4]; w->per_group = geometry[5]; w->chunk = geometry[6];
  w->all_rows = geometry[0] / w->columns; w->matrices = w->all_rows / w->rows;
  w->all_columns = w->matrices * w->columns;
  w->per_line = (w->line + LENGTH - 1) / LENGTH;
  w->blocks = geometry[0] / w->line * w->per_line;
  w->group_chunks = (w->per_group + w->per_chunk - 1) / w->per_chunk;
  w->chunks = w->blocks / w->per_group * w->group_chunks;
}
static inline void add_columns(double *sums, const real *slot, i64 n) {
  #pragma omp simd
  for (i64 i = 0; i < n; i++) sums[i] += slot[i];
}
double step(i64 count, const i64 *geometry, const i64 *which, const i64 *seed, void **p,
            const double *s, i64 scalars, i64 threads) {  /* the squared norm of the update, if it is measured */
  double squared = 0;
  work *works = malloc(count * sizeof(work));
  i64 *start = malloc((count + 1) * sizeof(i64));
  for (i64 first = 0, end; first < count; first = end) {  /* tensors that fit into the cache together */
    i64 elements = 0, room = 1, slots = 0;
    start[first] = 0;
    for (end = first; end < count && (end == first || elements + geometry[end * 7] <= WAVE); end++) {
      work *w = works + end;
      start_work(w, geometry + end * 7);
      elements += geometry[end * 7];
      start[end + 1] = start[end] + w->chunks;
      w->slots = slots;
      slots += w->chunks * w->columns * COLUMN_SUMS;
      room += SCALARS + w->all_rows * (ROW_SUMS + ROW_VALUES) + w->all_columns * (COLUMN_SUMS + COLUMN_VALUES) + w->matrices * BATCH_VALUES;
    }
    const i64 chunks = start[end];
    double *memory = calloc(room, sizeof(double)), *part = malloc((chunks * PARTS + 1) * sizeof(double));
    real *slot = calloc(slots + 1, sizeof(real));
    double *next = memory;
    for (i64 t = first; t < end; t++) {
      work *w = works + t;
      w->scalar = next; next += SCALARS;
      w->row_sum = next; next += w->all_rows * ROW_SUMS;
      w->column_sum = next; next += w->all_columns * COLUMN_SUMS;
      w->row = (real *)next; next += w->all_rows * ROW_VALUES;
      w->column = (real *)next; next += w->all_columns * COLUMN_VALUES;
      w->batch = (real *)next; next += w->matrices * BATCH_VALUES;
    }
PASSES
    free(memory); free(part); free(slot);
  }
  free(works); free(start);
  return squared;
}
