// Gradients of the matrices of a recurrence, summed over steps and rows while both are in cache.
//
// A preactivation is z = W h + V x + b: one matrix times the rows [h; x; 1]. So all its gradients
// are one product of those rows with the gradients by z, taken a block of steps at a time.

#pragma once

#include "scan.hpp"

namespace {

// How many steps' gradients are kept until they are multiplied: enough for a deep product, and at
// least two, as those of a step are made from those of the step after it.
inline int64_t block_of(int64_t steps, const Chunks& chunks) {
  const int64_t rows = (chunks.batch + chunks.count - 1) / chunks.count;
  return std::min(steps, std::max<int64_t>(2, 128 / rows));
}

// Numbers that a thread keeps for what it needs from one moment to the next only: chunks that it
// works on in turn then share a place in its cache. Each `place` is another memory.
template <class R, int place> R* spare_memory(int64_t size) {
  static thread_local std::unique_ptr<Buffer<R>> kept;
  static thread_local int64_t held = 0;
  if (size > held) {
    kept.reset(new Buffer<R>(size));
    held = size;
  }
  return kept->get();
}

// What one chunk of a slot's batch adds to the gradients by W, V and b. From begin to end of a block
// it belongs to one thread, which works on no other meanwhile.
template <class R> class WeightSums {
 public:
  // columns: of the matrices W and V and the bias together.
  WeightSums(int64_t columns, int64_t width)
      : columns_(columns), width_(width), sums_(columns * padded<R>(width)) {}

  // Begins a block, of `count` rows.
  void begin(int64_t count) {
    count_ = count;
    filled_ = 0;
    panels_ = spare_memory<R, 0>(count * padded<R>(width_));
    rows_ = spare_memory<R, 1>(count * columns_);
  }

  // Adds rows: gradients by z, `stride` apart, h of `size` numbers, x of `inputs`, null for zeros.
  void add(int64_t rows, const R* gradient, int64_t stride, const R* h, int64_t size, const R* x,
           int64_t inputs) {
    for (int64_t r = 0; r < rows; ++r, ++filled_) {
      R* to = rows_ + filled_ * columns_;
      std::memcpy(static_cast<void*>(to), h + r * size, size * sizeof(R));
      if (x)
        std::memcpy(static_cast<void*>(to + size), x + r * inputs, inputs * sizeof(R));
      else
        std::memset(static_cast<void*>(to + size), 0, inputs * sizeof(R));
      if (size + inputs < columns_) to[columns_ - 1] = R(1);
      spread_panels(gradient + r * stride);
    }
  }

  // Adds the block to the sums.
  void end() {
    const int64_t stride = padded<R>(width_);
    multiply_panels(columns_, count_, stride, panels_, rows_, 1, columns_,
                       sums_.get(), stride, sums_.get(), stride);
  }

  // Adds another chunk's sums.
  void add(const WeightSums& other) {
    const int64_t all = columns_ * padded<R>(width_);
    for (int64_t i = 0; i < all; ++i) sums_.get()[i] += other.sums_.get()[i];
  }

  // The sum for column `column` of [W V b] and row `row` of it.
  R at(int64_t row, int64_t column) const { return sums_.get()[column * padded<R>(width_) + row]; }

 private:
  void spread_panels(const R* row) {
    const int64_t wide = kTileVectors * lanes<R>(), stride = padded<R>(width_);
    for (int64_t j = 0; j < stride; j += wide) {
      const int64_t columns = std::min(wide, stride - j);
      std::memcpy(static_cast<void*>(panels_ + j * count_ + filled_ * columns), row + j,
                  columns * sizeof(R));
    }
  }

  int64_t columns_, width_, count_ = 0, filled_ = 0;
  Buffer<R> sums_;
  R *panels_ = nullptr, *rows_ = nullptr;
};

}  // namespace
