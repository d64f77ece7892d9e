// The matrix products of the scans.

#include "scan.hpp"

namespace {

// c[r, :] = init[r, :] + sum_k a[r, k] panel[k, :] for Rows rows and Vectors vectors of columns.
//
// The rows of a, init and c are `from`, `begin` and `to` apart, the columns of a `along`. One
// element's sum starts at init and takes k in order, whatever the tile, so a row's bits depend
// neither on the other rows nor on how many there are.
template <class R, int Rows, int Vectors>
void tile(int64_t depth, const R* panel, const R* a, int64_t from, int64_t along, const R* init,
          int64_t begin, R* c, int64_t to) {
  using V = typename Vector<R>::Type;
  V sum[Rows][Vectors];
#pragma GCC unroll 16  // else the sums live in memory before and after the loop
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v)
      sum[r][v] = *reinterpret_cast<const V*>(init + r * begin + v * lanes<R>());
  for (int64_t k = 0; k < depth; ++k) {
    V row[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v)
      row[v] = *reinterpret_cast<const V*>(panel + (k * Vectors + v) * lanes<R>());
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      // Less 0, which costs nothing; plus 0 would be an addition, as -0 + 0 is 0.
      const V x = a[r * from + k * along] - V{};
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) sum[r][v] += x * row[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v)
      *reinterpret_cast<V*>(c + r * to + v * lanes<R>()) = sum[r][v];
}

// As many rows as keep the sums in registers; for one vector of columns enough of them that each
// step of one sum is over when its turn comes again.
template <int Vectors> constexpr int rows_at_once() {
  return std::min(2 * kTileRows, kTileRows * kTileVectors / Vectors);
}

// `tile` for `height` rows, at most Rows.
template <class R, int Rows, int Vectors, class... Rest>
void low_tile(int64_t height, Rest... rest) {
  if constexpr (Rows > 0) {
    if (height == Rows)
      tile<R, Rows, Vectors>(rest...);
    else
      low_tile<R, Rows - 1, Vectors>(height, rest...);
  }
}

// `tile` for any number of rows, in tiles of nearly equal height.
template <class R, int Vectors>
void rows(int64_t batch, int64_t depth, const R* panel, const R* a, int64_t from, int64_t along,
          const R* init, int64_t begin, R* c, int64_t to) {
  constexpr int kMost = rows_at_once<Vectors>();
  for (int64_t tiles = (batch + kMost - 1) / kMost; tiles > 0; --tiles) {
    const int64_t height = (batch + tiles - 1) / tiles;
    low_tile<R, kMost, Vectors>(height, depth, panel, a, from, along, init, begin, c, to);
    batch -= height;
    a += height * from;
    init += height * begin;
    c += height * to;
  }
}

template <class R>
void multiply(int64_t batch, int64_t depth, int64_t width, const R* panel, const R* a,
                     int64_t from, int64_t along, const R* init, int64_t begin, R* c, int64_t to) {
  int64_t j = 0;
  for (; j + kTileVectors * lanes<R>() <= width; j += kTileVectors * lanes<R>()) {
    rows<R, kTileVectors>(batch, depth, panel, a, from, along, init + j, begin, c + j, to);
    panel += depth * kTileVectors * lanes<R>();
  }
  switch ((width - j) / lanes<R>()) {
    case 3: rows<R, 3>(batch, depth, panel, a, from, along, init + j, begin, c + j, to); break;
    case 2: rows<R, 2>(batch, depth, panel, a, from, along, init + j, begin, c + j, to); break;
    case 1: rows<R, 1>(batch, depth, panel, a, from, along, init + j, begin, c + j, to); break;
  }
}

}  // namespace

void multiply_panels(int64_t batch, int64_t depth, int64_t width, const float* panel, const float* a,
                     int64_t from, int64_t along, const float* init, int64_t begin, float* c,
                     int64_t to) {
  multiply<float>(batch, depth, width, panel, a, from, along, init, begin, c, to);
}

void multiply_panels(int64_t batch, int64_t depth, int64_t width, const double* panel,
                     const double* a, int64_t from, int64_t along, const double* init,
                     int64_t begin, double* c, int64_t to) {
  multiply<double>(batch, depth, width, panel, a, from, along, init, begin, c, to);
}
