// Rows of units as whole vectors, worked on where they lie if they can be; and a slot's rows over
// several threads.

#pragma once

#include "scan.hpp"

namespace {

// Rows of `size` units of arrays from outside. Where a row is not a whole number of vectors, it is
// copied to a spare one of `width` units whose rest is 0.
template <class R> struct Rows {
  int64_t size, width;
  bool whole;

  template <class... Arrays>
  explicit Rows(int64_t size, const Arrays*... arrays)
      : size(size),
        width(padded<R>(size)),
        whole(size == width && (... && (reinterpret_cast<uintptr_t>(arrays) % kBytes == 0))) {}

  // `count` rows to read from.
  const R* read(const R* row, R* spare, int64_t count = 1) const {
    if (whole) return row;
    spread<R>(count, size, width, row, spare);
    return spare;
  }

  // Where to write what finish then brings to its row.
  R* place(R* row, R* spare) const { return whole ? row : spare; }

  void finish(const R* written, R* row, int64_t count = 1) const {
    if (!whole) gather<R>(count, size, width, written, row);
  }

  // How much spare memory `count` rows need.
  int64_t spare(int64_t count) const { return whole ? 0 : count * width; }
};

// Runs work(slot, first row, row after the last), a slot's rows shared out among several threads
// where there are more of them than slots.
template <class Work>
void each_share(int64_t slots, int64_t batch, int64_t threads, Work work) {
  const Chunks chunks(batch);
  each_part(slots, chunks, threads, [&](int64_t p, int64_t from, int64_t to) {
    work(p, chunks.first(from), chunks.first(to));
  });
}

}  // namespace
