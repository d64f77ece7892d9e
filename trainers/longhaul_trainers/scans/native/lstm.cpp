// The LSTM scan, forward and backward, of P slots; gates in the order i, f, g, o.
//
// U (P, 4H, H), inputs and gates (P, T, B, 4H), hidden and cells (P, T + 1, B, H).

#include "rows.hpp"

namespace {

template <class R> struct LSTM {
  int64_t steps, batch, size;

  // gates: filled by what the gates let through. Step 0 of hidden and cells is given.
  void forward(int64_t first, int64_t last, const R* U, const R* inputs, R* gates, R* hidden,
               R* cells) const {
    const Rows<R> rows(size, gates, hidden, cells);
    const int64_t width = rows.width, count = last - first, step = batch * size;
    Panels<R> transposed(size, 4 * width, [=](int64_t k, int64_t j) {
      return j % width < size ? U[(j / width * size + j % width) * size + k] : R(0);
    });
    Buffer<R> states(rows.spare(2 * count)), carried(rows.spare(2 * count)),
        gate(rows.spare(4 * count));
    const R* h = rows.read(hidden + first * size, states.get(), count);
    const R* c = rows.read(cells + first * size, carried.get(), count);
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * step + first * size, other = t % 2 ? 0 : rows.spare(count);
      R* const g = rows.place(gates + 4 * at, gate.get());
      R* const next_h = rows.place(hidden + at + step, states.get() + other);
      R* const next_c = rows.place(cells + at + step, carried.get() + other);
      spread<R>(4 * count, size, width, inputs + 4 * at, g);
      transposed.multiply_add(count, h, width, g, 4 * width);
      for (int64_t b = 0; b < count; ++b)
        open(width, g + b * 4 * width, c + b * width, next_h + b * width, next_c + b * width);
      rows.finish(g, gates + 4 * at, 4 * count);
      rows.finish(next_h, hidden + at + step, count);
      rows.finish(next_c, cells + at + step, count);
      h = next_h;
      c = next_c;
    }
  }

  // by_outputs (P, T, B, H): the loss's gradients by h of each step; by_cell (P, B, H): that by the
  // last c, which becomes that by the first. by_gates, by the gates' products, and by_initial
  // (P, B, H) are filled.
  void backward(int64_t first, int64_t last, const R* U, const R* gates, const R* cells,
                const R* by_outputs, R* by_cell, R* by_gates, R* by_initial) const {
    const Rows<R> rows(size, gates, cells, by_outputs, by_gates);
    const int64_t width = rows.width, count = last - first, step = batch * size;
    Panels<R> straight(4 * width, size, [=](int64_t k, int64_t j) {
      return k % width < size ? U[(k / width * size + k % width) * size + j] : R(0);
    });
    Buffer<R> by_hidden(count * width), carried(count * width), gate(rows.spare(4 * count)),
        before(rows.spare(count)), after(rows.spare(count)), output(rows.spare(count)),
        slope(rows.spare(4 * count));
    R *const dh = by_hidden.get(), *const dc = carried.get();
    spread<R>(count, size, width, by_cell + first * size, dc);
    for (int64_t t = steps; t-- > 0;) {
      const int64_t at = t * step + first * size;
      const R* const g = rows.read(gates + 4 * at, gate.get(), 4 * count);
      const R* const c = rows.read(cells + at, before.get(), count);
      const R* const next = rows.read(cells + at + step, after.get(), count);
      const R* const by = rows.read(by_outputs + at, output.get(), count);
      R* const dg = rows.place(by_gates + 4 * at, slope.get());
      for (int64_t b = 0; b < count; ++b)
        close(width, g + b * 4 * width, next + b * width, c + b * width, by + b * width,
              dh + b * width, dc + b * width, dg + b * 4 * width);
      straight.multiply_add(count, dg, 4 * width, dh, width);
      rows.finish(dg, by_gates + 4 * at, 4 * count);
    }
    gather<R>(count, size, width, dh, by_initial + first * size);
    gather<R>(count, size, width, dc, by_cell + first * size);
  }

 private:
  static void open(int64_t width, R* __restrict gate, const R* __restrict c, R* __restrict next_h,
                   R* __restrict next_c) {
    R *i = gate, *f = i + width, *g = f + width, *o = g + width;
    for (int64_t u = 0; u < width; ++u) {
      i[u] = sigmoid_of(i[u]);
      f[u] = sigmoid_of(f[u]);
      g[u] = tanh_of(g[u]);
      o[u] = sigmoid_of(o[u]);
      next_c[u] = f[u] * c[u] + i[u] * g[u];
      next_h[u] = o[u] * tanh_of(next_c[u]);
    }
  }

  // dh: from the steps after, on entry; 0, to which the products are added, on return.
  static void close(int64_t width, const R* __restrict gate, const R* __restrict after,
                    const R* __restrict before, const R* __restrict by, R* __restrict dh,
                    R* __restrict dc, R* __restrict slope) {
    const R *i = gate, *f = i + width, *g = f + width, *o = g + width;
    R *di = slope, *df = di + width, *dg = df + width, *d_o = dg + width;
    for (int64_t u = 0; u < width; ++u) {
      const R squashed = tanh_of(after[u]), d = dh[u] + by[u];
      const R by_c = dc[u] + d * o[u] * (1 - squashed * squashed);
      di[u] = by_c * g[u] * i[u] * (1 - i[u]);
      df[u] = by_c * before[u] * f[u] * (1 - f[u]);
      dg[u] = by_c * i[u] * (1 - g[u] * g[u]);
      d_o[u] = d * squashed * o[u] * (1 - o[u]);
      dc[u] = by_c * f[u];
      dh[u] = 0;
    }
  }
};

template <class R>
void lstm_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                  const R* U, const R* inputs, R* gates, R* hidden, R* cells) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, four = steps * 4 * step, whole = (steps + 1) * step;
    LSTM<R>{steps, batch, size}.forward(first, last, U + p * 4 * size * size, inputs + p * four,
                                        gates + p * four, hidden + p * whole, cells + p * whole);
  });
}

template <class R>
void lstm_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                   const R* U, const R* gates, const R* cells, const R* by_outputs, R* by_cell,
                   R* by_gates, R* by_initial) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step, four = 4 * all;
    LSTM<R>{steps, batch, size}.backward(first, last, U + p * 4 * size * size, gates + p * four,
                                         cells + p * (all + step), by_outputs + p * all,
                                         by_cell + p * step, by_gates + p * four,
                                         by_initial + p * step);
  });
}

}  // namespace

#define LONGHAUL_LSTM(R, suffix)                                                                  \
  extern "C" void lstm_forward_##suffix(int64_t slots, int64_t steps, int64_t batch, int64_t size, \
                                        int64_t threads, const R* U, const R* inputs, R* gates,   \
                                        R* hidden, R* cells) {                                    \
    lstm_forward<R>(slots, steps, batch, size, threads, U, inputs, gates, hidden, cells);         \
  }                                                                                               \
  extern "C" void lstm_backward_##suffix(int64_t slots, int64_t steps, int64_t batch,             \
                                         int64_t size, int64_t threads, const R* U,               \
                                         const R* gates, const R* cells, const R* by_outputs,     \
                                         R* by_cell, R* by_gates, R* by_initial) {                \
    lstm_backward<R>(slots, steps, batch, size, threads, U, gates, cells, by_outputs, by_cell,    \
                     by_gates, by_initial);                                                       \
  }

LONGHAUL_LSTM(float, float32)
LONGHAUL_LSTM(double, float64)
