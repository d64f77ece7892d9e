// The LSTM scan, forward and backward, of P slots; gates in the order i, f, g, o.
//
// U (P, 4H, H), gates (P, T, B, 4H), hidden and cells (P, T + 1, B, H).

#include "scan.hpp"

namespace {

template <class R> struct LSTM {
  int64_t steps, batch, size;

  // gates: the input products on entry, what the gates let through on return. Step 0 of hidden and
  // cells is given.
  void forward(const R* U, R* gates, R* hidden, R* cells) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> transposed(size, 4 * width, [=](int64_t k, int64_t j) {
      return j % width < size ? U[(j / width * size + j % width) * size + k] : R(0);
    });
    Buffer<R> state(batch * width), cell(batch * width), gate(batch * 4 * width);
    R *h = state.get(), *c = cell.get(), *g = gate.get();
    spread<R>(batch, size, width, hidden, h);
    spread<R>(batch, size, width, cells, c);
    for (int64_t t = 0; t < steps; ++t) {
      R* const now = gates + t * 4 * step;
      spread<R>(4 * batch, size, width, now, g);
      transposed.multiply_add(batch, h, width, g, 4 * width);
      for (int64_t b = 0; b < batch; ++b) open(width, g + b * 4 * width, h + b * width, c + b * width);
      gather<R>(4 * batch, size, width, g, now);
      gather<R>(batch, size, width, h, hidden + (t + 1) * step);
      gather<R>(batch, size, width, c, cells + (t + 1) * step);
    }
  }

  // by_hidden: the loss's gradients by h of each step on entry, 0 at step 0, which becomes that by
  // the first h; by_cell (P, B, H): that by the last c, which becomes that by the first.
  void backward(const R* U, const R* gates, const R* cells, R* by_hidden, R* by_cell,
                R* by_gates) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> straight(4 * width, size, [=](int64_t k, int64_t j) {
      return k % width < size ? U[(k / width * size + k % width) * size + j] : R(0);
    });
    Buffer<R> state(batch * width), carried(batch * width), before(batch * width),
        after(batch * width), gate(batch * 4 * width), slope(batch * 4 * width);
    R *dh = state.get(), *dc = carried.get();
    spread<R>(batch, size, width, by_hidden + steps * step, dh);
    spread<R>(batch, size, width, by_cell, dc);
    for (int64_t t = steps; t > 0; --t) {
      spread<R>(4 * batch, size, width, gates + (t - 1) * 4 * step, gate.get());
      spread<R>(batch, size, width, cells + t * step, after.get());
      spread<R>(batch, size, width, cells + (t - 1) * step, before.get());
      for (int64_t b = 0; b < batch; ++b)
        close(width, gate.get() + b * 4 * width, after.get() + b * width, before.get() + b * width,
              dh + b * width, dc + b * width, slope.get() + b * 4 * width);
      gather<R>(4 * batch, size, width, slope.get(), by_gates + (t - 1) * 4 * step);
      spread<R>(batch, size, width, by_hidden + (t - 1) * step, dh);
      straight.multiply_add(batch, slope.get(), 4 * width, dh, width);
    }
    gather<R>(batch, size, width, dh, by_hidden);
    gather<R>(batch, size, width, dc, by_cell);
  }

 private:
  static void open(int64_t width, R* __restrict gate, R* __restrict h, R* __restrict c) {
    R *i = gate, *f = i + width, *g = f + width, *o = g + width;
    for (int64_t u = 0; u < width; ++u) {
      i[u] = sigmoid_of(i[u]);
      f[u] = sigmoid_of(f[u]);
      g[u] = tanh_of(g[u]);
      o[u] = sigmoid_of(o[u]);
      c[u] = f[u] * c[u] + i[u] * g[u];
      h[u] = o[u] * tanh_of(c[u]);
    }
  }

  static void close(int64_t width, const R* __restrict gate, const R* __restrict after,
                    const R* __restrict before, const R* __restrict dh, R* __restrict dc,
                    R* __restrict slope) {
    const R *i = gate, *f = i + width, *g = f + width, *o = g + width;
    R *di = slope, *df = di + width, *dg = df + width, *d_o = dg + width;
    for (int64_t u = 0; u < width; ++u) {
      const R squashed = tanh_of(after[u]);
      const R by_c = dc[u] + dh[u] * o[u] * (1 - squashed * squashed);
      di[u] = by_c * g[u] * i[u] * (1 - i[u]);
      df[u] = by_c * before[u] * f[u] * (1 - f[u]);
      dg[u] = by_c * i[u] * (1 - g[u] * g[u]);
      d_o[u] = dh[u] * squashed * o[u] * (1 - o[u]);
      dc[u] = by_c * f[u];
    }
  }
};

template <class R>
void lstm_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                  const R* U, R* gates, R* hidden, R* cells) {
  each(slots, threads, [=](int64_t p) {
    const int64_t step = batch * size;
    LSTM<R>{steps, batch, size}.forward(U + p * 4 * size * size, gates + p * steps * 4 * step,
                                        hidden + p * (steps + 1) * step,
                                        cells + p * (steps + 1) * step);
  });
}

template <class R>
void lstm_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                   const R* U, const R* gates, const R* cells, R* by_hidden, R* by_cell,
                   R* by_gates) {
  each(slots, threads, [=](int64_t p) {
    const int64_t step = batch * size, whole = (steps + 1) * step, four = steps * 4 * step;
    LSTM<R>{steps, batch, size}.backward(U + p * 4 * size * size, gates + p * four,
                                         cells + p * whole, by_hidden + p * whole,
                                         by_cell + p * step, by_gates + p * four);
  });
}

}  // namespace

#define LONGHAUL_LSTM(R, suffix)                                                                  \
  extern "C" void lstm_forward_##suffix(int64_t slots, int64_t steps, int64_t batch, int64_t size, \
                                        int64_t threads, const R* U, R* gates, R* hidden,         \
                                        R* cells) {                                               \
    lstm_forward<R>(slots, steps, batch, size, threads, U, gates, hidden, cells);                 \
  }                                                                                               \
  extern "C" void lstm_backward_##suffix(int64_t slots, int64_t steps, int64_t batch,             \
                                         int64_t size, int64_t threads, const R* U,               \
                                         const R* gates, const R* cells, R* by_hidden,            \
                                         R* by_cell, R* by_gates) {                               \
    lstm_backward<R>(slots, steps, batch, size, threads, U, gates, cells, by_hidden, by_cell,     \
                     by_gates);                                                                   \
  }

LONGHAUL_LSTM(float, float32)
LONGHAUL_LSTM(double, float64)
