// The scan of uncoupled oscillators, forward and backward, of P slots:
// z' = z - d (f + alpha y), f = tanh(w y + u), y' = y + d z'.
//
// w and d (P, H), alpha (P,), inputs u and forces f (P, T, B, H), positions y and velocities z
// (P, T + 1, B, H).

#include "rows.hpp"

namespace {

template <class R> struct UnICORNN {
  int64_t steps, batch, size;
  R alpha;

  // Step 0 of positions and velocities is given.
  void forward(int64_t first, int64_t last, const R* w, const R* d, const R* inputs, R* forces,
               R* positions, R* velocities) const {
    const Rows<R> rows(size, inputs, forces, positions, velocities);
    const int64_t width = rows.width, step = batch * size;
    Buffer<R> weights(width), sizes(width), input(width), force(width), y(width), z(width),
        next_y(width), next_z(width);
    spread<R>(1, size, width, w, weights.get());
    spread<R>(1, size, width, d, sizes.get());
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * size, after = at + step;
        R* const f = rows.place(forces + at, force.get());
        R* const to_y = rows.place(positions + after, next_y.get());
        R* const to_z = rows.place(velocities + after, next_z.get());
        advance(width, weights.get(), sizes.get(), rows.read(inputs + at, input.get()),
                rows.read(positions + at, y.get()), rows.read(velocities + at, z.get()), f, to_y,
                to_z);
        rows.finish(f, forces + at);
        rows.finish(to_y, positions + after);
        rows.finish(to_z, velocities + after);
      }
  }

  // by_outputs (P, T, B, H): the loss's gradients by y of each step; by_z (P, B, H): that by the
  // last z, which becomes that by the first. by_inputs and by_y (P, B, H), by the first y, are
  // filled, and each row's share of the gradients by w and d, (P, B, H).
  void backward(int64_t first, int64_t last, const R* w, const R* d, const R* forces,
                const R* positions, const R* velocities, const R* by_outputs, R* by_inputs,
                R* by_y, R* by_z, R* by_w, R* by_d) const {
    const Rows<R> rows(size, forces, positions, velocities, by_outputs, by_inputs);
    const int64_t width = rows.width, step = batch * size, count = last - first;
    Buffer<R> weights(width), sizes(width), force(width), y(width), z(width), output(width),
        input(width), carried_y(count * width), carried_z(count * width), sums_w(count * width),
        sums_d(count * width);
    spread<R>(1, size, width, w, weights.get());
    spread<R>(1, size, width, d, sizes.get());
    spread<R>(count, size, width, by_z + first * size, carried_z.get());
    for (int64_t t = steps; t-- > 0;)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * size, row = (b - first) * width;
        R* const by = rows.place(by_inputs + at, input.get());
        retreat(width, weights.get(), sizes.get(), rows.read(forces + at, force.get()),
                rows.read(positions + at, y.get()), rows.read(velocities + at + step, z.get()),
                rows.read(by_outputs + at, output.get()), by, carried_y.get() + row,
                carried_z.get() + row, sums_w.get() + row, sums_d.get() + row);
        rows.finish(by, by_inputs + at);
      }
    gather<R>(count, size, width, carried_y.get(), by_y + first * size);
    gather<R>(count, size, width, carried_z.get(), by_z + first * size);
    gather<R>(count, size, width, sums_w.get(), by_w + first * size);
    gather<R>(count, size, width, sums_d.get(), by_d + first * size);
  }

 private:
  void advance(int64_t width, const R* __restrict w, const R* __restrict d,
               const R* __restrict input, const R* __restrict y, const R* __restrict z,
               R* __restrict force, R* __restrict next_y, R* __restrict next_z) const {
    const R stiffness = alpha;
    for (int64_t i = 0; i < width; ++i) {
      force[i] = tanh_of(w[i] * y[i] + input[i]);
      next_z[i] = z[i] - d[i] * (force[i] + stiffness * y[i]);
      next_y[i] = y[i] + d[i] * next_z[i];
    }
  }

  // y before, z after the step. by_y, by_z: from the steps after on entry, for those before on
  // return.
  void retreat(int64_t width, const R* __restrict w, const R* __restrict d,
               const R* __restrict force, const R* __restrict y, const R* __restrict z,
               const R* __restrict output, R* __restrict by_input, R* __restrict by_y,
               R* __restrict by_z, R* __restrict by_w, R* __restrict by_d) const {
    const R stiffness = alpha;
    for (int64_t i = 0; i < width; ++i) {
      const R dy = by_y[i] + output[i];
      const R dz = by_z[i] + d[i] * dy;
      const R du = dz * d[i] * (force[i] * force[i] - 1);
      by_input[i] = du;
      by_w[i] += du * y[i];
      by_d[i] += dy * z[i] - dz * (force[i] + stiffness * y[i]);
      by_y[i] = dy + du * w[i] - dz * d[i] * stiffness;
      by_z[i] = dz;
    }
  }
};

template <class R>
void unicornn_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                      const R* alpha, const R* w, const R* d, const R* inputs, R* forces,
                      R* positions, R* velocities) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step, kept = p * (all + step);
    UnICORNN<R>{steps, batch, size, alpha[p]}.forward(
        first, last, w + p * size, d + p * size, inputs + p * all, forces + p * all,
        positions + kept, velocities + kept);
  });
}

template <class R>
void unicornn_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                       const R* alpha, const R* w, const R* d, const R* forces, const R* positions,
                       const R* velocities, const R* by_outputs, R* by_inputs, R* by_y, R* by_z,
                       R* by_w, R* by_d) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step, kept = p * (all + step);
    UnICORNN<R>{steps, batch, size, alpha[p]}.backward(
        first, last, w + p * size, d + p * size, forces + p * all, positions + kept,
        velocities + kept, by_outputs + p * all, by_inputs + p * all, by_y + p * step,
        by_z + p * step, by_w + p * step, by_d + p * step);
  });
}

}  // namespace

#define LONGHAUL_UNICORNN(R, suffix)                                                              \
  extern "C" void unicornn_forward_##suffix(                                                      \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, const R* alpha, \
      const R* w, const R* d, const R* inputs, R* forces, R* positions, R* velocities) {          \
    unicornn_forward<R>(slots, steps, batch, size, threads, alpha, w, d, inputs, forces,          \
                        positions, velocities);                                                   \
  }                                                                                               \
  extern "C" void unicornn_backward_##suffix(                                                     \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, const R* alpha, \
      const R* w, const R* d, const R* forces, const R* positions, const R* velocities,           \
      const R* by_outputs, R* by_inputs, R* by_y, R* by_z, R* by_w, R* by_d) {                    \
    unicornn_backward<R>(slots, steps, batch, size, threads, alpha, w, d, forces, positions,      \
                         velocities, by_outputs, by_inputs, by_y, by_z, by_w, by_d);              \
  }

LONGHAUL_UNICORNN(float, float32)
LONGHAUL_UNICORNN(double, float64)
