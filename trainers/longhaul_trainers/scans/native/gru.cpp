// The GRU scan, forward and backward, of P slots; gates in the order r, z, n.
//
// U (P, 3H, H), bias (P, H), inputs and gates (P, T, B, 3H), candidates (P, T, B, H), which are
// U_n h + b_hn, hidden (P, T + 1, B, H).

#include "rows.hpp"

namespace {

template <class R> struct GRU {
  int64_t steps, batch, size;

  // Step 0 of hidden is given.
  void forward(int64_t first, int64_t last, const R* U, const R* bias, const R* inputs, R* gates,
               R* candidates, R* hidden) const {
    const Rows<R> rows(size, gates, candidates, hidden);
    const int64_t width = rows.width, count = last - first, step = batch * size;
    Panels<R> both(size, 2 * width, [=](int64_t k, int64_t j) {
      return j % width < size ? U[(j / width * size + j % width) * size + k] : R(0);
    });
    Panels<R> third(size, size, [=](int64_t k, int64_t j) {
      return U[(2 * size + j) * size + k];
    });
    Buffer<R> states(rows.spare(2 * count)), gate(rows.spare(3 * count)), spare(rows.spare(count));
    R* const here = states.get();
    const R* h = rows.read(hidden + first * size, here, count);
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * step + first * size;
      R* const g = rows.place(gates + 3 * at, gate.get());
      R* const c = rows.place(candidates + at, spare.get());
      R* const next = rows.place(hidden + at + step, here + (t % 2 ? 0 : rows.spare(count)));
      spread<R>(3 * count, size, width, inputs + 3 * at, g);
      for (int64_t b = 0; b < count; ++b) spread<R>(1, size, width, bias, c + b * width);
      both.multiply_add(count, h, width, g, 3 * width);
      third.multiply_add(count, h, width, c, width);
      for (int64_t b = 0; b < count; ++b)
        open(width, g + b * 3 * width, c + b * width, h + b * width, next + b * width);
      rows.finish(g, gates + 3 * at, 3 * count);
      rows.finish(c, candidates + at, count);
      rows.finish(next, hidden + at + step, count);
      h = next;
    }
  }

  // by_outputs (P, T, B, H): the loss's gradients by h of each step; by_initial (P, B, H) and
  // by_inputs are filled, and by_candidates (P, T, B, H).
  void backward(int64_t first, int64_t last, const R* U, const R* gates, const R* candidates,
                const R* hidden, const R* by_outputs, R* by_inputs, R* by_candidates,
                R* by_initial) const {
    const Rows<R> rows(size, gates, candidates, hidden, by_outputs, by_inputs, by_candidates);
    const int64_t width = rows.width, count = last - first, step = batch * size;
    Panels<R> both(2 * width, size, [=](int64_t k, int64_t j) {
      return k % width < size ? U[(k / width * size + k % width) * size + j] : R(0);
    });
    Panels<R> third(size, size, [=](int64_t k, int64_t j) {
      return U[(2 * size + k) * size + j];
    });
    Buffer<R> by_hidden(count * width), gate(rows.spare(3 * count)), candidate(rows.spare(count)),
        before(rows.spare(count)), output(rows.spare(count)), slope(rows.spare(3 * count)),
        inner(rows.spare(count));
    R* const dh = by_hidden.get();
    for (int64_t t = steps; t-- > 0;) {
      const int64_t at = t * step + first * size;
      const R* const g = rows.read(gates + 3 * at, gate.get(), 3 * count);
      const R* const c = rows.read(candidates + at, candidate.get(), count);
      const R* const h = rows.read(hidden + at, before.get(), count);
      const R* const by = rows.read(by_outputs + at, output.get(), count);
      R* const dg = rows.place(by_inputs + 3 * at, slope.get());
      R* const dc = rows.place(by_candidates + at, inner.get());
      for (int64_t b = 0; b < count; ++b)
        close(width, g + b * 3 * width, c + b * width, h + b * width, by + b * width,
              dg + b * 3 * width, dc + b * width, dh + b * width);
      both.multiply_add(count, dg, 3 * width, dh, width);
      third.multiply_add(count, dc, width, dh, width);
      rows.finish(dg, by_inputs + 3 * at, 3 * count);
      rows.finish(dc, by_candidates + at, count);
    }
    gather<R>(count, size, width, dh, by_initial + first * size);
  }

 private:
  static void open(int64_t width, R* __restrict gate, const R* __restrict candidate,
                   const R* __restrict h, R* __restrict next) {
    R *r = gate, *z = r + width, *n = z + width;
    for (int64_t u = 0; u < width; ++u) {
      r[u] = sigmoid_of(r[u]);
      z[u] = sigmoid_of(z[u]);
      n[u] = tanh_of(n[u] + r[u] * candidate[u]);
      next[u] = n[u] + z[u] * (h[u] - n[u]);
    }
  }

  // dh: from the steps after, on entry; what goes on to the step before, on return.
  static void close(int64_t width, const R* __restrict gate, const R* __restrict candidate,
                    const R* __restrict h, const R* __restrict by, R* __restrict slope,
                    R* __restrict by_candidate, R* __restrict dh) {
    const R *r = gate, *z = r + width, *n = z + width;
    R *dr = slope, *dz = dr + width, *dn = dz + width;
    for (int64_t u = 0; u < width; ++u) {
      const R d = dh[u] + by[u];
      const R into = d * (1 - z[u]) * (1 - n[u] * n[u]);
      dr[u] = into * candidate[u] * r[u] * (1 - r[u]);
      dz[u] = d * (h[u] - n[u]) * z[u] * (1 - z[u]);
      dn[u] = into;
      by_candidate[u] = into * r[u];
      dh[u] = d * z[u];
    }
  }
};

template <class R>
void gru_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                 const R* U, const R* bias, const R* inputs, R* gates, R* candidates, R* hidden) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step;
    GRU<R>{steps, batch, size}.forward(first, last, U + p * 3 * size * size, bias + p * size,
                                       inputs + p * 3 * all, gates + p * 3 * all,
                                       candidates + p * all, hidden + p * (all + step));
  });
}

template <class R>
void gru_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                  const R* U, const R* gates, const R* candidates, const R* hidden,
                  const R* by_outputs, R* by_inputs, R* by_candidates, R* by_initial) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step;
    GRU<R>{steps, batch, size}.backward(
        first, last, U + p * 3 * size * size, gates + p * 3 * all, candidates + p * all,
        hidden + p * (all + step), by_outputs + p * all, by_inputs + p * 3 * all,
        by_candidates + p * all, by_initial + p * step);
  });
}

}  // namespace

#define LONGHAUL_GRU(R, suffix)                                                                   \
  extern "C" void gru_forward_##suffix(int64_t slots, int64_t steps, int64_t batch, int64_t size, \
                                       int64_t threads, const R* U, const R* bias,                \
                                       const R* inputs, R* gates, R* candidates, R* hidden) {     \
    gru_forward<R>(slots, steps, batch, size, threads, U, bias, inputs, gates, candidates,        \
                   hidden);                                                                       \
  }                                                                                               \
  extern "C" void gru_backward_##suffix(int64_t slots, int64_t steps, int64_t batch,              \
                                        int64_t size, int64_t threads, const R* U,                \
                                        const R* gates, const R* candidates, const R* hidden,     \
                                        const R* by_outputs, R* by_inputs, R* by_candidates,      \
                                        R* by_initial) {                                          \
    gru_backward<R>(slots, steps, batch, size, threads, U, gates, candidates, hidden, by_outputs, \
                    by_inputs, by_candidates, by_initial);                                        \
  }

LONGHAUL_GRU(float, float32)
LONGHAUL_GRU(double, float64)
