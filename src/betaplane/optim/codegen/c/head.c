/* What every pass begins with. real: the type it computes in; ROOT, ABS, SIGNED and
   FUSED: its sqrt, fabs, copysign and fma; ARCTAN: see c_source.py. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#define INLINE static inline __attribute__((always_inline))
typedef int64_t i64;
typedef uint32_t u32;
static inline float f_of(u32 b) { float f; memcpy(&f, &b, 4); return f; }
static inline u32 b_of(float f) { u32 b; memcpy(&b, &f, 4); return b; }
static inline float of_bf16(uint16_t h) { return f_of((u32)h << 16); }
static inline uint16_t to_bf16(float f) {  /* to nearest, ties to even */
  u32 b = b_of(f); return f == f ? (b + 0x7fff + ((b >> 16) & 1)) >> 16 : 0x7fc0; }
static inline float bf16(float f) { return of_bf16(to_bf16(f)); }
static inline uint16_t to_bf16_randomly(float f, u32 r) { return f == f ? (b_of(f) + r) >> 16 : 0x7fc0; }
static inline u32 hash(u32 h) {
  h = (h ^ (h >> 16)) * 0x7FEB352Du; h = (h ^ (h >> 15)) * 0x846CA68Bu; return h ^ (h >> 16); }
INLINE void ahead(const void *p, i64 size) {  /* at a page's end, the next one's first lines: processors stop there */
  const char *next = (const char *)((uintptr_t)p | 4095) + 1;
  if (next - (const char *)p <= size) for (int i = 0; i < 512; i += 64) __builtin_prefetch(next + i, 0, 2); }
#ifdef FP_FAST_FMA
#define FMA(a, b, c) FUSED(a, b, c)
#else  /* a processor without it, where torch has none either */
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
static inline real sqrt_of(real x) { return ROOT(x); }
static inline real abs_of(real x) { return ABS(x); }
static inline real max_of(real a, real b) { return a > b || a != a ? a : b; }  /* nan, if either is nan */
static inline real min_of(real a, real b) { return a < b || a != a ? a : b; }
static inline real lerp_of(real a, real b, real w) {  /* as torch's, rounded once: exact at w = 0 and at w = 1 */
  const int near = ABS(w) < (real)0.5;
  return FMA(near ? w : w - 1, b - a, near ? a : b); }
static inline real scale_for(real b) {  /* a / b is (a * scale) * (1 / (b * scale)), whose parts do not overflow */
  return ABS(b) < (real)0x1p-100 ? (real)0x1p64 : ABS(b) > (real)0x1p100 ? (real)0x1p-64 : 1; }
static inline real exp_of(real x) { return exp(x); }
static inline real log_of(real x) { return log(x); }
static inline real tanh_of(real x) { return tanh(x); }
static inline real pow_of(real x, real y) { return pow(x, y); }
static inline real sign_of(real x) { return (real)((x > 0) - (x < 0)); }
static inline real arctan2(real y, real x) {
  real ay = ABS(y), ax = ABS(x), big = ax > ay ? ax : ay, small = ax > ay ? ay : ax;
  real z = small == big ? (big > 0) : small / big, w = z * z;
  ARCTAN
  a = a * z;
  a = ay > ax ? (real)1.57079632679489661923 - a : a;
  a = SIGNED((real)1, x) < 0 ? (real)3.14159265358979323846 - a : a;
  return x != x || y != y ? x + y : SIGNED(a, y); }
typedef struct {  /* a tensor, and what passes need to know of its rows, columns and matrices */
  i64 line, columns, rows, all_rows, matrices, all_columns;  /* elements of a line, ...; blocks do not go beyond a line */
  i64 per_line, blocks, per_chunk, per_group, group_chunks, chunks, chunk, slots;
  double *scalar, *row_sum, *column_sum;
  real *row, *column, *batch;
} work;
