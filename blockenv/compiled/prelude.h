#include <math.h>
#include <stdint.h>
#include <string.h>

/* No turn of a loop reads what another writes. */
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* Elementary functions in single precision, by the same steps as NumPy's for machines with fused multiplication:
   exp and log after Cody & Waite 1980 with rational minimax approximations, sin and cos with polynomials. */

static inline float from_bits(uint32_t bits) { float value; memcpy(&value, &bits, 4); return value; }
static inline uint32_t bits_of(float value) { uint32_t bits; memcpy(&bits, &value, 4); return bits; }

/* All bits where a condition holds, none where it does not. */
#define ONLY(condition) ((uint32_t)-(condition))

/* Eight or four numbers beside each other, anywhere in memory. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#define ALL_EIGHT(x) ((eight){x, x, x, x, x, x, x, x})
#define ALL_FOUR(x) ((four){x, x, x, x})

#if defined(__FMA__) || defined(__aarch64__)
#define FUSED(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FUSED(a, b, c) ((a) * (b) + (c))
#endif

static inline float exponential(float x) {
  float clipped = x < 88.72283935546875f ? x : 88.72283935546875f;
  clipped = clipped > -103.97208404541015625f ? clipped : -103.97208404541015625f;
  const float power = rintf(clipped * 0x1.715476p+0f);
  float rest = FUSED(power, -6.93145752e-1f, clipped);
  rest = FUSED(power, -1.42860677e-6f, rest);
  float top = FUSED(5.082762527590693718096e-04f, rest, 6.757896990527504603057e-03f);
  top = FUSED(top, rest, 5.114512081637298353406e-02f);
  top = FUSED(top, rest, 2.473615434895520810817e-01f);
  top = FUSED(top, rest, 7.257664613233124478488e-01f);
  top = FUSED(top, rest, 9.999999999980870924916e-01f);
  float bottom = FUSED(2.159509375685829852307e-02f, rest, -2.742335390411667452936e-01f);
  bottom = FUSED(bottom, rest, 1.0f);
  /* Two steps, as 2^power alone may be too small for a normal number. */
  const int32_t whole = (int32_t)power, half = whole >> 1;
  const float first = from_bits((uint32_t)(half + 127) << 23), second = from_bits((uint32_t)(whole - half + 127) << 23);
  float value = (top / bottom) * first * second;
  value = x > 88.72283935546875f ? INFINITY : value;
  return x < -103.97208404541015625f ? 0.0f : value;
}

static inline float logarithm(float x) {
  const uint32_t bits = bits_of(x);
  float power = (float)((int32_t)(bits >> 23) - 127);
  float part = from_bits((bits & 0x007fffffu) | 0x3f800000u);
  const int32_t large = part > 1.41421354f;
  part = large ? part * 0.5f : part;
  power = large ? power + 1.0f : power;
  const float rest = part - 1.0f;
  float top = FUSED(2.589979117907922693523e-02f, rest, 3.808837741388407920751e-01f);
  top = FUSED(top, rest, 1.480000633576506585156e+00f);
  top = FUSED(top, rest, 2.112677543073053063722e+00f);
  top = FUSED(top, rest, 9.999999999999998702752e-01f);
  top = FUSED(top, rest, 0.0f);
  float bottom = FUSED(5.875095403124574342950e-03f, rest, 1.546476374983906719538e-01f);
  bottom = FUSED(bottom, rest, 9.864942958519418960339e-01f);
  bottom = FUSED(bottom, rest, 2.453006071784736363091e+00f);
  bottom = FUSED(bottom, rest, 2.612677543073109236779e+00f);
  bottom = FUSED(bottom, rest, 1.0f);
  return FUSED(power, 0x1.62e43p-1f, top / bottom);
}

/* Of an angle below 10^5, as all of ours are. */
static inline float turned(float x, int32_t quarters) {
  const float quadrant = rintf(x * 0x1.45f306p-1f);
  float rest = FUSED(quadrant, -0x1.921fb0p+00f, x);
  rest = FUSED(quadrant, -0x1.5110b4p-22f, rest);
  rest = FUSED(quadrant, -0x1.846988p-48f, rest);
  const float square = rest * rest;
  float even = FUSED(0x1.98e616p-16f, square, -0x1.6c06dcp-10f);
  even = FUSED(even, square, 0x1.55553cp-05f);
  even = FUSED(even, square, -0x1.000000p-01f);
  even = FUSED(even, square, 0x1.000000p+00f);
  float odd = FUSED(0x1.7d3bbcp-19f, square, -0x1.a06bbap-13f);
  odd = FUSED(odd, square, 0x1.11119ap-07f);
  odd = FUSED(odd, square, -0x1.555556p-03f);
  odd = FUSED(odd, square, 0.0f);
  odd = FUSED(odd, rest, rest);
  const int32_t turn = (int32_t)quadrant + quarters;
  const float value = turn & 1 ? even : odd;
  return from_bits(bits_of(value) ^ ((uint32_t)(turn & 2) << 30));
}

static inline float sine(float x) { return turned(x, 0); }
static inline float cosine(float x) { return turned(x, 1); }

/* SplitMix64's finaliser, as in blockenv.noise. */
#define WEYL 0x9E3779B97F4A7C15u
static inline uint64_t mix(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
  return word ^ (word >> 31);
}

/* Copies entries `from` of some arrays to the places `to` of others. Each array has a line of `fields`: where to and
   where from, bytes of an entry, rows, bytes from row to row there and here. */
void place(const long count, const int64_t *to, const int64_t *from, const long length, const int64_t *fields) {
  for (const int64_t *field = fields; field < fields + 6 * length; field += 6)
    for (long row = 0; row < field[3]; row++) {
      char *target = (char *)(intptr_t)field[0] + row * field[4];
      const char *source = (const char *)(intptr_t)field[1] + row * field[5];
      const long bytes = field[2];
      if (bytes == 4)
        for (long j = 0; j < count; j++) memcpy(target + to[j] * 4, source + from[j] * 4, 4);
      else
        for (long j = 0; j < count; j++) memcpy(target + to[j] * bytes, source + from[j] * bytes, (size_t)bytes);
    }
}
