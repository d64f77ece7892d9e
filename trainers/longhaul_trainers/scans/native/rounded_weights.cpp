// The gradient of W in z = W h, summed over all steps and the batch, of factors rounded to bfloat16.

#include "bfloat16.hpp"

#ifdef LONGHAUL_TILES

namespace {

constexpr int64_t kDepth = 256;  // so many rows are packed, then multiplied

// Sixteen pairs of bfloat16 numbers: columns of one row (low half) and of the next (high half).
inline __m512i pairs(const float* row, const float* next, int64_t columns) {
  const __mmask16 inside = columns >= 16 ? 0xffff : static_cast<__mmask16>((1u << columns) - 1);
  const __m512 low = row ? _mm512_maskz_loadu_ps(inside, row) : _mm512_setzero_ps();
  const __m512 high = next ? _mm512_maskz_loadu_ps(inside, next) : _mm512_setzero_ps();
  const __m512i l = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
  const __m512i h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
  return _mm512_or_si512(l, _mm512_slli_epi32(h, 16));
}

// Transposes 16 x 16 numbers of 32 bits.
inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int half = 0; half < 2; ++half) {
      r[i + 2 * half] = _mm512_unpacklo_epi64(t[i + half], t[i + half + 2]);
      r[i + 2 * half + 1] = _mm512_unpackhi_epi64(t[i + half], t[i + half + 2]);
    }
  // Now lane l of r[4 q + c] has column 4 l + c of the rows 4 q to 4 q + 3.
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88);
    t[c + 4] = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xdd);
    t[c + 8] = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88);
    t[c + 12] = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xdd);
  }
  for (int c = 0; c < 4; ++c) {
    r[c] = _mm512_shuffle_i32x4(t[c], t[c + 8], 0x88);
    r[c + 8] = _mm512_shuffle_i32x4(t[c], t[c + 8], 0xdd);
    r[c + 4] = _mm512_shuffle_i32x4(t[c + 4], t[c + 12], 0x88);
    r[c + 12] = _mm512_shuffle_i32x4(t[c + 4], t[c + 12], 0xdd);
  }
}

// Sixteen columns of 32 rows, as far as there are so many, in pairs of rows.
inline void read_block(int64_t rows, int64_t columns, const float* from, int64_t stride,
                       __m512i* block) {
  for (int64_t i = 0; i < 16; ++i)
    block[i] = pairs(2 * i < rows ? from + 2 * i * stride : nullptr,
                     2 * i + 1 < rows ? from + (2 * i + 1) * stride : nullptr, columns);
}

// One slot: rows of g (rows, outputs) and h (rows, inputs), result (outputs, inputs).
void sum_weights(int64_t rows, int64_t outputs, int64_t inputs, const float* g, const float* h,
                 float* result) {
  const int64_t height = (outputs + 31) / 32 * 32, strips = (inputs + 15) / 16;
  const int64_t width = strips * 16, blocks = kDepth / 32;
  Buffer<uint16_t> turned(height * kDepth), straight(strips * blocks * 512);
  Buffer<float> sums(height * width);
  Tiles tiles;
  for (int64_t first = 0; first < rows; first += kDepth) {
    const int64_t depth = std::min(kDepth, rows - first);
    for (int64_t k = 0; k < kDepth; k += 32) {
      const int64_t left = depth - k;
      __m512i block[16];
      for (int64_t i = 0; i < outputs; i += 16) {
        read_block(left, outputs - i, g + (first + k) * outputs + i, outputs, block);
        transpose(block);
        for (int64_t unit = 0; unit < 16; ++unit)
          _mm512_store_si512(turned.get() + (i + unit) * kDepth + k, block[unit]);
      }
      for (int64_t j = 0; j < strips; ++j) {
        read_block(left, inputs - j * 16, h + (first + k) * inputs + j * 16, inputs, block);
        for (int64_t pair = 0; pair < 16; ++pair)
          _mm512_store_si512(straight.get() + (j * blocks + k / 32) * 512 + pair * 32,
                             block[pair]);
      }
    }
    for (int64_t i = 0; i < outputs; i += 32)
      multiply_strips(outputs - i, strips, blocks, turned.get() + i * kDepth, kDepth,
                      straight.get(), sums.get() + i * width, width);
  }
  gather<float>(outputs, inputs, width, sums.get(), result);
}

}  // namespace

#endif

// g (P, T, B, outputs), or (P, T + 1, B, outputs) with a first step to be skipped; h (P, T + 1, B,
// size), of which the last step is not read; result (P, outputs, size). To be called with tiles only.
extern "C" void rounded_weights_float32(int64_t slots, int64_t steps, int64_t batch, int64_t size,
                                        int64_t threads, int64_t outputs, int64_t skipped,
                                        const float* g, const float* h, float* result) {
#ifdef LONGHAUL_TILES
  each(slots, threads, [=](int64_t p) {
    sum_weights(steps * batch, outputs, size,
                g + (p * (steps + skipped) + skipped) * batch * outputs,
                h + p * (steps + 1) * batch * size, result + p * outputs * size);
  });
#endif
}
