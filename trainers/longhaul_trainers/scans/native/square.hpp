// Square matrices of one slot: their products, and what is done to them between these.
//
// `size` rows, `stride` apart and padded with zeros to whole vectors; so are all results, as the
// padding of a product is a product with padding. A row's bits do not depend on how the rows are
// shared out among threads.

#pragma once

#include "scan.hpp"

namespace {

// Memory whose contents do not matter yet.
template <class R> class Room {
 public:
  explicit Room(int64_t size)
      : data_(static_cast<R*>(std::aligned_alloc(
            kBytes, (std::max<int64_t>(size, 1) * sizeof(R) + kBytes - 1) / kBytes * kBytes))) {}
  ~Room() { std::free(data_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  R* get() const { return data_; }

 private:
  R* data_;
};

// A matrix as `multiply_panels` wants it; memory for one after the other.
template <class R> class InPanels {
 public:
  // depth rows of `width` numbers, which are whole vectors.
  InPanels(int64_t depth, int64_t width)
      : depth_(depth), width_(width), panels_(width > kWide ? depth * width : 0) {}

  // The matrix, valid until the next one; itself where it is a single panel.
  const R* of(const R* matrix) const {
    if (width_ <= kWide) return matrix;
    R* to = panels_.get();
    for (int64_t j = 0; j < width_; j += kWide) {
      const int64_t columns = std::min<int64_t>(kWide, width_ - j);
      for (int64_t k = 0; k < depth_; ++k, to += columns)
        std::memcpy(static_cast<void*>(to), matrix + k * width_ + j, columns * sizeof(R));
    }
    return panels_.get();
  }

 private:
  static constexpr int64_t kWide = kTileVectors * kBytes / static_cast<int>(sizeof(R));

  const int64_t depth_, width_;
  const Room<R> panels_;
};

template <class R> class Squares {
 public:
  // threads: how many may share a product; it takes few where the matrices are small.
  Squares(int64_t size, int64_t threads)
      : size(size),
        stride(padded<R>(size)),
        count(size * stride),
        parts_(std::min<int64_t>(threads, size / 64)),
        zeros_(stride),
        panels_(size, stride) {}

  const int64_t size, stride, count;

  // c = init + a b, or a b where init is null; c is neither a nor b.
  void multiply(const R* a, const R* b, const R* init, R* c) const {
    multiply_strided(a, stride, 1, b, init, c);
  }

  // c = init + a^T b, or a^T b where init is null; c is neither a nor b.
  void multiply_turned(const R* a, const R* b, const R* init, R* c) const {
    multiply_strided(a, 1, stride, b, init, c);
  }

  // Calls work(i, j) for every element, block by block, so that (j, i) is near too.
  template <class Work> void blockwise(Work work) const {
    for (int64_t i = 0; i < size; i += kBlock)
      for (int64_t j = 0; j < size; j += kBlock)
        for (int64_t k = i; k < std::min(size, i + kBlock); ++k)
          for (int64_t l = j; l < std::min(size, j + kBlock); ++l) work(k, l);
  }

  void clear_padding(R* a) const {
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = size; j < stride; ++j) a[i * stride + j] = 0;
  }

  // The sum of the moduli of the row that has most; NaN if there is one.
  R infinity_norm(const R* a) const {
    R most = 0;
    for (int64_t i = 0; i < size; ++i) {
      R sum[lanes<R>()] = {}, total = 0;
      for (int64_t j = 0; j < stride; j += lanes<R>())
        for (int64_t l = 0; l < lanes<R>(); ++l) sum[l] += std::fabs(a[i * stride + j + l]);
      for (R one : sum) total += one;
      if (!(total <= most)) most = total;
      if (most != most) return most;
    }
    return most;
  }

 private:
  static constexpr int64_t kBlock = 16;

  void multiply_strided(const R* a, int64_t from, int64_t along, const R* b, const R* init,
                        R* c) const {
    const R* const panels = panels_.of(b);
    const int64_t parts = std::max<int64_t>(1, parts_);
    each(parts, parts, [&](int64_t part) {
      const int64_t first = part * size / parts, rows = (part + 1) * size / parts - first;
      multiply_panels(rows, size, stride, panels, a + first * from, from, along,
                      init ? init + first * stride : zeros_.get(), init ? stride : 0,
                      c + first * stride, stride);
    });
  }

  const int64_t parts_;
  const Buffer<R> zeros_;
  const InPanels<R> panels_;
};

// Runs work(slot, threads that this slot may take) for all slots.
template <class Work> void each_slot(int64_t slots, int64_t threads, Work work) {
  each(slots, threads, [&](int64_t p) { work(p, slots == 1 ? threads : 1); });
}

}  // namespace
