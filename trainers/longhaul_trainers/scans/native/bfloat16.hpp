// Products whose factors are rounded to bfloat16 and whose sums are kept in float.
//
// Where processor and system let a program have tile registers (AMX), they multiply 16 x 32 by
// 32 x 16 numbers at once, sixteen times as many a second as the float units. Elsewhere the rounded
// numbers are multiplied as floats: the same sums in another order. AVX-512's own instruction for
// bfloat16 is left alone: where it was measured, it was half as fast as the float units.
//
// A row's sums are taken in the same order whatever the other rows are and whoever computes them.

#pragma once

#include "scan.hpp"

#if defined(__linux__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
#define LONGHAUL_TILES 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t kRoundedRows = 32;  // at most so many rows are multiplied at once

// The nearest number of eight binary digits, the even one of two.
inline float rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  float result;
  std::memcpy(&result, &nearest, sizeof result);
  return x != x ? x : result;
}

inline uint16_t bfloat16_of(float x) {
  const float nearest = rounded(x);
  uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  return static_cast<uint16_t>(bits >> 16 | (x != x ? 0x40u : 0u));  // a NaN stays one
}

#ifdef LONGHAUL_TILES

// Whether the system lets this process use tile registers; asked once.
inline bool has_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

// Tile registers of 16 rows of 64 bytes, for the thread and as long as this lives.
class Tiles {
 public:
  Tiles() {
    if (!has_tiles()) return;
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    for (int i = 0; i < 8; ++i) {
      shape.bytes[i] = 64;
      shape.rows[i] = 16;
    }
    asm volatile("" ::: "memory");
    _tile_loadconfig(&shape);
  }
  ~Tiles() {
    if (has_tiles()) _tile_release();
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// c += a b for 16 rows, 32 if Tall, and 16 columns, 32 if Wide; a has rows of bfloat16 numbers
// `from` apart, b is blocks of 32 x 16 with pairs of rows interleaved, each strip of 16 columns
// `strip` after the one before, c has rows `to` apart.
template <bool Tall, bool Wide>
void multiply_tiles(int64_t blocks, const uint16_t* a, int64_t from, const uint16_t* b,
                    int64_t strip, float* c, int64_t to) {
  asm volatile("" ::: "memory");  // what follows reads memory behind the compiler's back
  _tile_loadd(0, c, to * 4);
  if (Wide) _tile_loadd(1, c + 16, to * 4);
  if (Tall) _tile_loadd(2, c + 16 * to, to * 4);
  if (Tall && Wide) _tile_loadd(3, c + 16 * to + 16, to * 4);
  for (int64_t k = 0; k < blocks; ++k) {
    _tile_loadd(4, a + k * 32, from * 2);
    _tile_loadd(6, b + k * 512, 64);
    if (Tall) _tile_loadd(5, a + 16 * from + k * 32, from * 2);
    if (Wide) _tile_loadd(7, b + strip + k * 512, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (Wide) _tile_dpbf16ps(1, 4, 7);
    if (Tall) _tile_dpbf16ps(2, 5, 6);
    if (Tall && Wide) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, to * 4);
  if (Wide) _tile_stored(1, c + 16, to * 4);
  if (Tall) _tile_stored(2, c + 16 * to, to * 4);
  if (Tall && Wide) _tile_stored(3, c + 16 * to + 16, to * 4);
  asm volatile("" ::: "memory");
}

// The same for at most 32 rows and any number of strips.
inline void multiply_strips(int64_t rows, int64_t strips, int64_t blocks, const uint16_t* a,
                            int64_t from, const uint16_t* b, float* c, int64_t to) {
  const int64_t strip = blocks * 512;
  for (int64_t j = 0; j < strips; j += 2) {
    const bool wide = j + 1 < strips;
    if (rows > 16 && wide) multiply_tiles<true, true>(blocks, a, from, b, strip, c, to);
    if (rows > 16 && !wide) multiply_tiles<true, false>(blocks, a, from, b, strip, c, to);
    if (rows <= 16 && wide) multiply_tiles<false, true>(blocks, a, from, b, strip, c, to);
    if (rows <= 16 && !wide) multiply_tiles<false, false>(blocks, a, from, b, strip, c, to);
    b += 2 * strip;
    c += 32;
  }
}

#else

inline bool has_tiles() { return false; }
class Tiles {};

#endif

// At most kRoundedRows rows, rounded, as the first factor of a product.
class RoundedRows {
 public:
  // width: padded<float> of the rows' size.
  explicit RoundedRows(int64_t width)
      : width_(width),
        depth_((width + 31) / 32 * 32),
        narrow_(has_tiles() ? kRoundedRows * depth_ : 0),
        floats_(has_tiles() ? 0 : kRoundedRows * width) {}

  // Takes rows that are `width` apart, the padding 0.
  void take(int64_t rows, const float* a) {
#ifdef LONGHAUL_TILES
    if (has_tiles()) {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width_; i += 16)
          _mm256_store_si256(reinterpret_cast<__m256i*>(narrow_.get() + r * depth_ + i),
                             (__m256i)_mm512_cvtneps_pbh(_mm512_load_ps(a + r * width_ + i)));
      return;
    }
#endif
    float* to = floats_.get();
    for (int64_t i = 0; i < rows * width_; ++i) to[i] = rounded(a[i]);
  }

  int64_t width() const { return width_; }
  int64_t depth() const { return depth_; }
  const uint16_t* narrow() { return narrow_.get(); }
  const float* floats() { return floats_.get(); }

 private:
  int64_t width_, depth_;
  Buffer<uint16_t> narrow_;
  Buffer<float> floats_;
};

// A matrix (depth, width), rounded, as the second factor.
class RoundedMatrix {
 public:
  // element(k, j) is row k, column j; it is asked for inside the matrix only.
  template <class Element>
  RoundedMatrix(int64_t depth, int64_t width, Element element)
      : blocks_((depth + 31) / 32),
        strips_((width + 15) / 16),
        narrow_(has_tiles() ? blocks_ * strips_ * 512 : 0),
        floats_(has_tiles() ? 0 : depth, has_tiles() ? 0 : width,
                [&](int64_t k, int64_t j) { return rounded(element(k, j)); }) {
    if (!has_tiles()) return;
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t j = 0; j < width; ++j)
        narrow_.get()[(j / 16 * blocks_ + k / 32) * 512 + k % 32 / 2 * 32 + j % 16 * 2 + k % 2] =
            bfloat16_of(element(k, j));
  }

  // c += a times the matrix for the first `rows` rows of a; c has room for kRoundedRows rows, `to`
  // apart. Needs Tiles.
  void multiply_add(int64_t rows, RoundedRows& a, float* c, int64_t to) {
#ifdef LONGHAUL_TILES
    if (has_tiles()) {
      multiply_strips(rows, strips_, blocks_, a.narrow(), a.depth(), narrow_.get(), c, to);
      return;
    }
#endif
    floats_.multiply_add(rows, a.floats(), a.width(), c, to);
  }

 private:
  int64_t blocks_, strips_;
  Buffer<uint16_t> narrow_;
  Panels<float> floats_;
};

}  // namespace
