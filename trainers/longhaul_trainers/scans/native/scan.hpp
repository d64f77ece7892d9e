// What the compiled scans share: padded memory, small matrix products, elementary functions, threads.
//
// One thread runs one slot from its first step to its last, so that a slot's states stay in one
// core's cache and its bits depend on nothing but itself. All arithmetic is on rows padded with
// zeros to whole vectors, so that there are no tails. Arrays from outside are row-major, contiguous
// and not padded.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kTileRows = 6, kTileVectors = 4;
#elif defined(__AVX2__)
constexpr int kBytes = 32, kTileRows = 6, kTileVectors = 2;
#else
constexpr int kBytes = 16, kTileRows = 4, kTileVectors = 2;
#endif

template <class R> struct Vector;
template <> struct Vector<float> { typedef float Type __attribute__((vector_size(kBytes))); };
template <> struct Vector<double> { typedef double Type __attribute__((vector_size(kBytes))); };

// Zeroed memory for whole vectors.
template <class R> class Buffer {
 public:
  explicit Buffer(int64_t size) {
    const size_t bytes = (size * sizeof(R) + kBytes - 1) / kBytes * kBytes;
    data_ = static_cast<R*>(std::aligned_alloc(kBytes, std::max<size_t>(bytes, kBytes)));
    std::memset(static_cast<void*>(data_), 0, bytes);
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  R* get() { return data_; }

 private:
  R* data_;
};

template <class R> constexpr int lanes() { return kBytes / static_cast<int>(sizeof(R)); }

template <class R> int64_t padded(int64_t size) {
  return (size + lanes<R>() - 1) / lanes<R>() * lanes<R>();
}

// c[r, :] += sum_k a[r, k] panel[k, :] for Rows rows and Vectors vectors of columns; the rows of a
// and c are `from` and `to` apart.
template <class R, int Rows, int Vectors>
void tile(int64_t depth, const R* panel, const R* a, int64_t from, R* c, int64_t to) {
  using V = typename Vector<R>::Type;
  V sum[Rows][Vectors];
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v)
      sum[r][v] = *reinterpret_cast<const V*>(c + r * to + v * lanes<R>());
  for (int64_t k = 0; k < depth; ++k) {
    V row[Vectors];
    for (int v = 0; v < Vectors; ++v)
      row[v] = *reinterpret_cast<const V*>(panel + (k * Vectors + v) * lanes<R>());
    for (int r = 0; r < Rows; ++r) {
      const V x = V{} + a[r * from + k];
      for (int v = 0; v < Vectors; ++v) sum[r][v] += x * row[v];
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v)
      *reinterpret_cast<V*>(c + r * to + v * lanes<R>()) = sum[r][v];
}

template <class R, int Vectors>
void rows(int64_t batch, int64_t depth, const R* panel, const R* a, int64_t from, R* c,
          int64_t to) {
  int64_t r = 0;
  for (; r + kTileRows <= batch; r += kTileRows)
    tile<R, kTileRows, Vectors>(depth, panel, a + r * from, from, c + r * to, to);
  for (; r + 2 <= batch; r += 2)
    tile<R, 2, Vectors>(depth, panel, a + r * from, from, c + r * to, to);
  if (r < batch) tile<R, 1, Vectors>(depth, panel, a + r * from, from, c + r * to, to);
}

// A matrix (depth, width) cut into panels of kTileVectors vectors of columns.
template <class R> class Panels {
 public:
  // element(k, j) is row k, column j; it is asked for inside the matrix only.
  template <class Element>
  Panels(int64_t depth, int64_t width, Element element)
      : depth_(depth), width_(padded<R>(width)), data_(depth * padded<R>(width)) {
    R* to = data_.get();
    for (int64_t j = 0; j < width_; j += kTileVectors * lanes<R>()) {
      const int64_t columns = std::min<int64_t>(kTileVectors * lanes<R>(), width_ - j);
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t i = j; i < j + columns; ++i) *to++ = i < width ? element(k, i) : R(0);
    }
  }

  // c += a times the matrix; the rows of a and c are `from` and `to` apart.
  void multiply_add(int64_t batch, const R* a, int64_t from, R* c, int64_t to) {
    const R* panel = data_.get();
    int64_t j = 0;
    for (; j + kTileVectors * lanes<R>() <= width_; j += kTileVectors * lanes<R>()) {
      rows<R, kTileVectors>(batch, depth_, panel, a, from, c + j, to);
      panel += depth_ * kTileVectors * lanes<R>();
    }
    switch ((width_ - j) / lanes<R>()) {
      case 3: rows<R, 3>(batch, depth_, panel, a, from, c + j, to); break;
      case 2: rows<R, 2>(batch, depth_, panel, a, from, c + j, to); break;
      case 1: rows<R, 1>(batch, depth_, panel, a, from, c + j, to); break;
    }
  }

 private:
  int64_t depth_, width_;
  Buffer<R> data_;
};

// exp(y) in float for -87 < y < 87, within 2 roundings: 2^n exp(r), |r| <= ln 2 / 2.
inline float exp_of(float y) {
  const float n = std::floor(y * 1.44269504089f + 0.5f);
  const float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
  float e = 1.0f / 5040;
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return e * power;
}

// tanh in float: odd polynomial below 0.625, 1 - 2 / (exp(2 x) + 1) above; within 3 roundings.
inline float tanh_of(float x) {
  const float a = std::fabs(x), s = x * x;
  const float small =
      x + x * s *
              (-3.33332819422e-1f +
               s * (1.33314422036e-1f +
                    s * (-5.37397155531e-2f + s * (2.06390887954e-2f + s * -5.70498872745e-3f))));
  const float large = 1.0f - 2.0f / (exp_of(std::min(a, 9.5f) * 2.0f) + 1.0f);
  const float result = a < 0.625f ? small : std::copysign(large, x);
  return x != x ? x : result;
}

// 1 / (1 + exp(-x)) in float, within 3 roundings.
inline float sigmoid_of(float x) {
  const float result = 1.0f / (1.0f + exp_of(std::min(std::max(-x, -86.0f), 86.0f)));
  return x != x ? x : result;
}

inline double tanh_of(double x) { return std::tanh(x); }
inline double sigmoid_of(double x) { return 1.0 / (1.0 + std::exp(-x)); }

template <class R> void spread(int64_t batch, int64_t size, int64_t stride, const R* from, R* to) {
  for (int64_t b = 0; b < batch; ++b)
    std::memcpy(static_cast<void*>(to + b * stride), from + b * size, size * sizeof(R));
}

template <class R> void gather(int64_t batch, int64_t size, int64_t stride, const R* from, R* to) {
  for (int64_t b = 0; b < batch; ++b)
    std::memcpy(static_cast<void*>(to + b * size), from + b * stride, size * sizeof(R));
}

// Runs work(slot) for every slot on so many threads.
template <class Work> void each(int64_t slots, int64_t threads, Work work) {
  if (threads <= 1 || slots <= 1) {
    for (int64_t p = 0; p < slots; ++p) work(p);
    return;
  }
  std::vector<std::thread> running;
  for (int64_t first = 0; first < std::min(threads, slots); ++first)
    running.emplace_back([=] {
      for (int64_t p = first; p < slots; p += threads) work(p);
    });
  for (auto& one : running) one.join();
}

}  // namespace
