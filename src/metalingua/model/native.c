/* The loops over time of loops.py, each step's elementwise part in one pass. Plain C: native.py compiles it, once with
   DOUBLE. Rows, sizes and names are those of loops.py; a step's rows follow those of the step before. One thread each,
   no state. `zeros` [4H] stands in for what is not there. */

#include <stdint.h>
#include <string.h>

#ifdef DOUBLE
typedef double real;
typedef uint64_t bits;
#define MANTISSA 52
#define SHIFT 6755399441055744.0 /* 1.5 * 2^52: added, it leaves the nearest integer in the lowest bits */
#define TERMS 13
#define LARGEST 340 /* of e^z: two of them can be multiplied, and s(z) is 1 or 0 by then */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#else
typedef float real;
typedef uint32_t bits;
#define MANTISSA 23
#define SHIFT 12582912.0f
#define TERMS 7
#define LARGEST 43
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#endif

#if defined(__AVX512F__)
#define BYTES 64
#define ROWS 12 /* two vectors of sums a row, in 32 registers */
#elif defined(__AVX__)
#define BYTES 32
#define ROWS 6
#else
#define BYTES 16
#define ROWS 6
#endif

typedef real vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
enum { LANES = BYTES / sizeof(real), WIDTH = 2 * LANES };

int64_t width(void) { return WIDTH; }

/* C [R, WIDTH] = D [R, WIDTH] + A [R, depth] B [depth, WIDTH]; A[r, k] lies at r * a_row + k * a_depth. D's row r is
   the place[r]-th; without `place`, D is C. */
static inline __attribute__((always_inline)) void block(const int R, int64_t depth, const real *A, int64_t a_row,
                                                        int64_t a_depth, const real *B, int64_t b_row, const real *D,
                                                        const int64_t *place, real *C, int64_t c_row) {
    vec sum[ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        const real *from = place ? D + place[r] * c_row : C + r * c_row;
        sum[r][0] = *(const vec *)from;
        sum[r][1] = *(const vec *)(from + LANES);
    }
    for (int64_t k = 0; k < depth; k++) {
        vec b0 = *(const vec *)(B + k * b_row), b1 = *(const vec *)(B + k * b_row + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            real a = A[r * a_row + k * a_depth];
            sum[r][0] += a * b0;
            sum[r][1] += a * b1;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        *(vec *)(C + r * c_row) = sum[r][0];
        *(vec *)(C + r * c_row + LANES) = sum[r][1];
    }
}

/* C [rows, WIDTH] = D + A B. Every sum is in the order of depth, however many rows there are. */
static inline __attribute__((always_inline)) void column(int64_t rows, int64_t depth, const real *A, int64_t a_row,
                                                         int64_t a_depth, const real *B, int64_t b_row, const real *D,
                                                         const int64_t *place, real *C, int64_t c_row) {
    int64_t blocks = (rows + ROWS - 1) / ROWS;
    for (int64_t r = 0, R; r < rows; r += R, blocks--) {
        R = (rows - r + blocks - 1) / blocks;
        const real *A_ = A + r * a_row;
        const int64_t *place_ = place ? place + r : 0;
#define CASE(n) case n: block(n, depth, A_, a_row, a_depth, B, b_row, D, place_, C + r * c_row, c_row); break;
        switch (R) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if ROWS > 6
            CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
        }
    }
}

/* C [rows, columns] += A [rows, depth] B, where B [columns / WIDTH, depth, WIDTH] */
static void product(int64_t rows, int64_t depth, int64_t columns, const real *A, const real *B, real *C) {
    for (int64_t j = 0; j < columns; j += WIDTH, B += depth * WIDTH)
        column(rows, depth, A, depth, 1, B, WIDTH, 0, 0, C + j, columns);
}

/* the same, added to D[place] [rows, columns] in place of C */
static void product_onto(int64_t rows, int64_t depth, int64_t columns, const real *A, const real *B, const real *D,
                         const int64_t *place, real *C) {
    for (int64_t j = 0; j < columns; j += WIDTH, B += depth * WIDTH)
        column(rows, depth, A, depth, 1, B, WIDTH, D + j, place, C + j, columns);
}

/* C [rows, columns] += A^T B, where A [depth, rows], B [depth, columns] */
static void outer_product(int64_t rows, int64_t depth, int64_t columns, const real *A, const real *B, real *C) {
    for (int64_t j = 0; j < columns; j += WIDTH) column(rows, depth, A, 1, rows, B + j, columns, 0, 0, C + j, columns);
}

static const real taylor[] = {
    1, 1, 1 / 2.0, 1 / 6.0, 1 / 24.0, 1 / 120.0, 1 / 720.0, 1 / 5040.0, 1 / 40320.0, 1 / 362880.0, 1 / 3628800.0,
    1 / 39916800.0, 1 / 479001600.0, 1 / 6227020800.0,
};

/* e^z: 2^n times the Taylor series of e^r, |r| <= ln 2 / 2; n goes to the exponent's bits. */
static inline __attribute__((always_inline)) real exponential(real z) {
    union { real value; bits as; } shifted, series;
    z = z > LARGEST ? (real)LARGEST : z;
    z = z < -LARGEST ? (real)-LARGEST : z;
    shifted.value = z * (real)1.44269504088896340736 + SHIFT;
    real n = shifted.value - SHIFT, r = (z - n * LN2_HIGH) - n * LN2_LOW;
    series.value = taylor[TERMS];
#pragma GCC unroll 16
    for (int k = TERMS - 1; k >= 0; k--) series.value = series.value * r + taylor[k];
    series.as += shifted.as << MANTISSA;
    return series.value;
}

/* gates [rows, 4H], h, c and tanh c [rows, H] of x [words, 4H]. weight [4H / WIDTH, H, WIDTH] */
void forward(int64_t steps, const int64_t *sizes, int64_t H, const real *weight, const real *zeros,
             const int64_t *place, const real *x, real *gates, real *h, real *c, real *tanh_c) {
    int64_t before = 0;
    for (int64_t t = 0, row = 0; t < steps; t++) {
        /* no state before the first step: a product of depth 0 */
        product_onto(sizes[t], t ? H : 0, 4 * H, h + before * H, weight, x, place + row, gates + row * 4 * H);
        for (int64_t r = 0; r < sizes[t]; r++) {
            const real *c_before = t ? c + (before + r) * H : zeros;
            real *restrict a = gates + (row + r) * 4 * H, *restrict h_ = h + (row + r) * H;
            real *restrict c_ = c + (row + r) * H, *restrict tanh_ = tanh_c + (row + r) * H;
#pragma GCC ivdep
            for (int64_t j = 0; j < H; j++) {
                /* s(z) = 1 / (1 + e^-z), tanh z = 2 s(2z) - 1; a division is dear, so two share one */
                real to_i = 1 + exponential(-a[j]), to_f = 1 + exponential(-a[H + j]);
                real to_g = 1 + exponential(-2 * a[2 * H + j]), to_o = 1 + exponential(-a[3 * H + j]);
                real of_i_f = 1 / (to_i * to_f), of_g_o = 1 / (to_g * to_o);
                real i = to_f * of_i_f, f = to_i * of_i_f, g = 2 * (to_o * of_g_o) - 1, o = to_g * of_g_o;
                real now = i * g + f * c_before[j], tanh_now = 2 / (1 + exponential(-2 * now)) - 1;
                a[j] = i, a[H + j] = f, a[2 * H + j] = g, a[3 * H + j] = o;
                c_[j] = now, tanh_[j] = tanh_now, h_[j] = o * tanh_now;
            }
        }
        before = row, row += sizes[t];
    }
}

/* da [rows, 4H], dh and dc [rows, H]; or, unless `keep`, da [room, 4H] of the steps since dweight was last added to, dh
   and dc [2, items, H] of the last two. dx [words, 4H]; dweight [4H, H], zeros at first. Each of h_out, c_out and a_out
   may be NULL. past [room, H], room >= 3 items, and seen [words], zeros at first, are for work.
   weight [H / WIDTH, 4H, WIDTH] */
void gradient(int64_t steps, const int64_t *sizes, int64_t H, const real *weight, int64_t keep, const real *zeros,
              const int64_t *place, const real *h_out, const real *c_out, const real *a_out,
              const real *h, const real *c, const real *gates, const real *tanh_c,
              int64_t words, uint8_t *seen, int64_t room, real *past, real *dx, real *dweight, real *da, real *dh, real *dc) {
    int64_t row = 0, at = room, da_from = 0;
    for (int64_t t = 0; t < steps; t++) row += sizes[t];
    for (int64_t t = steps - 1, next = row, going_on = 0; t >= 0; next = row, going_on = sizes[t], t--) {
        row -= sizes[t];
        int64_t before = t ? row - sizes[t - 1] : 0;
        int64_t to = keep ? row : t % 2 * sizes[0], from = keep ? next : (t + 1) % 2 * sizes[0];
        at = at < sizes[t] ? room - sizes[t] : at - sizes[t]; /* `past` and da fill from their ends */
        int64_t da_to = keep ? row : at;
        if (h_out) memcpy(dh + to * H, h_out + row * H, sizes[t] * H * sizeof(real));
        else memset(dh + to * H, 0, sizes[t] * H * sizeof(real));
        if (going_on) product(going_on, 4 * H, H, da + da_from * 4 * H, weight, dh + to * H);
        for (int64_t r = 0; r < sizes[t]; r++) {
            int64_t here = row + r;
            const real *c_before = t ? c + (before + r) * H : zeros;
            const real *s = gates + here * 4 * H, *tanh_ = tanh_c + here * H;
            const real *dc_next = r < going_on ? dc + (from + r) * H : zeros;
            const real *f_next = r < going_on ? gates + (next + r) * 4 * H + H : zeros;
            const real *c_more = c_out ? c_out + here * H : zeros, *a_more = a_out ? a_out + here * 4 * H : zeros;
            const real *dh_ = dh + (to + r) * H;
            real *restrict dc_ = dc + (to + r) * H, *restrict da_ = da + (da_to + r) * 4 * H;
            real *restrict dx_ = dx + place[here] * 4 * H;
            if (!seen[place[here]]) memset(dx_, 0, 4 * H * sizeof(real)), seen[place[here]] = 1;
#pragma GCC ivdep
            for (int64_t j = 0; j < H; j++) {
                real i = s[j], f = s[H + j], g = s[2 * H + j], o = s[3 * H + j], tc = tanh_[j];
                real to_h = dh_[j], to_c = c_more[j] + to_h * (o * (1 - tc * tc)) + dc_next[j] * f_next[j];
                dc_[j] = to_c;
                real to_i = a_more[j] + to_c * (i * (1 - i) * g);
                real to_f = a_more[H + j] + to_c * (f * (1 - f) * c_before[j]);
                real to_g = a_more[2 * H + j] + to_c * ((1 - g * g) * i);
                real to_o = a_more[3 * H + j] + to_h * (o * (1 - o) * tc);
                da_[j] = to_i, da_[H + j] = to_f, da_[2 * H + j] = to_g, da_[3 * H + j] = to_o;
                dx_[j] += to_i, dx_[H + j] += to_f, dx_[2 * H + j] += to_g, dx_[3 * H + j] += to_o;
            }
        }
        da_from = da_to;
        if (!t) memset(past + at * H, 0, sizes[t] * H * sizeof(real));
        else memcpy(past + at * H, h + before * H, sizes[t] * H * sizeof(real));
        if (!t || at < sizes[t - 1]) /* one product for many steps: dweight is larger than what is added to it */
            outer_product(4 * H, room - at, H, da + da_to * 4 * H, past + at * H, dweight);
    }
    for (int64_t w = 0; w < words; w++)
        if (!seen[w]) memset(dx + w * 4 * H, 0, 4 * H * sizeof(real));
}

/* p [rows, H], and the cotangents of c [rows, H] and a [rows, 4H] by way of K, k and f. A [rows, 4H] holds U's part and
   in the end a's cotangent; x_out [words, 4H] may be NULL. q [2, items, H] and `spare` [H] are for work.
   weight [4H / WIDTH, H, WIDTH] */
void gradient_of_gradient(int64_t steps, const int64_t *sizes, int64_t H, const real *weight, const real *zeros,
                          const int64_t *place, const real *x_out, const real *c, const real *gates, const real *tanh_c,
                          const real *da, const real *dh, const real *dc, real *q, real *spare,
                          real *A, real *p, real *c_out) {
    int64_t before = 0;
    for (int64_t t = 0, row = 0; t < steps; t++) {
        for (int64_t r = row; x_out && r < row + sizes[t]; r++) {
            const real *more = x_out + place[r] * 4 * H;
            for (int64_t j = 0; j < 4 * H; j++) A[r * 4 * H + j] += more[j];
        }
        if (t) product(sizes[t], H, 4 * H, p + before * H, weight, A + row * 4 * H);
        for (int64_t r = 0; r < sizes[t]; r++) {
            int64_t here = row + r, there = before + r;
            const real *c_before = t ? c + there * H : zeros;
            const real *q_before = t ? q + ((t - 1) % 2 * sizes[0] + r) * H : zeros;
            real *restrict c_before_out = t ? c_out + there * H : spare;
            const real *s = gates + here * 4 * H, *tanh_ = tanh_c + here * H;
            const real *da_ = da + here * 4 * H, *dh_ = dh + here * H, *dc_ = dc + here * H;
            real *restrict p_ = p + here * H, *restrict q_ = q + (t % 2 * sizes[0] + r) * H;
            real *restrict c_ = c_out + here * H, *a = A + here * 4 * H;
#pragma GCC ivdep
            for (int64_t j = 0; j < H; j++) {
                real i = s[j], f = s[H + j], g = s[2 * H + j], o = s[3 * H + j], tc = tanh_[j];
                real a_i = a[j], a_f = a[H + j], a_g = a[2 * H + j], a_o = a[3 * H + j];
                real slope_f = f * (1 - f), k = o * (1 - tc * tc);
                real q_now = a_i * (i * (1 - i) * g) + a_f * (slope_f * c_before[j]) + a_g * ((1 - g * g) * i) +
                             q_before[j] * f;
                q_[j] = q_now;
                p_[j] = q_now * k + a_o * (o * (1 - o) * tc);
                /* cotangents: of K, A * (c', c', c', h'); of k, q h'; of f, q_{t-1} c'. a' = (c', c', c', h') * K */
                real along_g = a_g * da_[2 * H + j], dh_k = dh_[j] * k, through_f = dc_[j] * slope_f;
                a[j] = a_i * da_[j] * (1 - 2 * i) + along_g * (1 - i);
                a[H + j] = a_f * da_[H + j] * (1 - 2 * f) + through_f * q_before[j];
                a[2 * H + j] = a_i * (1 - i) * da_[2 * H + j] - 2 * g * along_g;
                a[3 * H + j] = a_o * da_[3 * H + j] * (1 - 2 * o) + dh_k * q_now * (1 - o);
                c_[j] = dh_k * (a_o * (1 - o) - 2 * tc * q_now);
                c_before_out[j] += through_f * a_f;
            }
        }
        before = row, row += sizes[t];
    }
}
