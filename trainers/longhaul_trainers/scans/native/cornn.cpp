// The scan of coupled oscillators, forward and backward, of P slots.
//
// W (P, H, 2H), keep, pull, push and dt (P), states (P, T + 1, B, 2H) of positions and velocities
// side by side, forces (P, T + 1, B, H), of which step 0 means nothing.

#include "scan.hpp"

namespace {

template <class R> struct CoRNN {
  int64_t steps, batch, size;
  R keep, pull, push, dt;

  // forces: the input products on entry, what they drive the velocities with on return. Step 0 of
  // the states is given.
  void forward(const R* W, R* states, R* forces) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> transposed(2 * width, size, [=](int64_t k, int64_t j) {
      return k % width < size ? W[j * 2 * size + k / width * size + k % width] : R(0);
    });
    Buffer<R> state(2 * batch * width), force(batch * width);
    R *s = state.get(), *f = force.get();
    spread<R>(2 * batch, size, width, states, s);
    for (int64_t t = 1; t <= steps; ++t) {
      spread<R>(batch, size, width, forces + t * step, f);
      transposed.multiply_add(batch, s, 2 * width, f, width);
      for (int64_t b = 0; b < batch; ++b) move(width, s + 2 * b * width, f + b * width);
      gather<R>(batch, size, width, f, forces + t * step);
      gather<R>(2 * batch, size, width, s, states + 2 * t * step);
    }
  }

  // by_states: on entry the loss's gradients by the positions of each step, 0 at step 0, and by the
  // last velocities, other velocities mean nothing; at step 0 they become those by the first state.
  // by_inputs as forces.
  void backward(const R* W, const R* forces, R* by_states, R* by_inputs) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> straight(width, 2 * width, [=](int64_t k, int64_t j) {
      return k < size && j % width < size ? W[k * 2 * size + j / width * size + j % width] : R(0);
    });
    Buffer<R> state(2 * batch * width), given(2 * batch * width), force(batch * width),
        slope(batch * width);
    R* const d = state.get();
    spread<R>(2 * batch, size, width, by_states + 2 * steps * step, d);
    for (int64_t t = steps; t > 0; --t) {
      spread<R>(batch, size, width, forces + t * step, force.get());
      spread<R>(2 * batch, size, width, by_states + 2 * (t - 1) * step, given.get());
      for (int64_t b = 0; b < batch; ++b)
        move_back(width, force.get() + b * width, given.get() + 2 * b * width, d + 2 * b * width,
                  slope.get() + b * width);
      gather<R>(batch, size, width, slope.get(), by_inputs + t * step);
      straight.multiply_add(batch, slope.get(), width, d, 2 * width);
    }
    gather<R>(2 * batch, size, width, d, by_states);
  }

 private:
  void move(int64_t width, R* __restrict y, R* __restrict force) const {
    R* const z = y + width;
    for (int64_t u = 0; u < width; ++u) {
      force[u] = tanh_of(force[u]);
      z[u] = keep * z[u] + pull * y[u] + push * force[u];
      y[u] += dt * z[u];
    }
  }

  void move_back(int64_t width, const R* __restrict force, const R* __restrict given,
                 R* __restrict dy, R* __restrict slope) const {
    R* const dz = dy + width;
    for (int64_t u = 0; u < width; ++u) {
      const R by_z = dz[u] + dt * dy[u];
      slope[u] = by_z * push * (1 - force[u] * force[u]);
      dy[u] += given[u] + pull * by_z;
      dz[u] = keep * by_z;
    }
  }
};

template <class R>
CoRNN<R> slot_of(int64_t p, int64_t steps, int64_t batch, int64_t size, const R* keep,
                 const R* pull, const R* push, const R* dt) {
  return {steps, batch, size, keep[p], pull[p], push[p], dt[p]};
}

}  // namespace

#define LONGHAUL_CORNN(R, suffix)                                                                 \
  extern "C" void cornn_forward_##suffix(                                                         \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, const R* W,     \
      const R* keep, const R* pull, const R* push, const R* dt, R* states, R* forces) {           \
    each(slots, threads, [=](int64_t p) {                                                         \
      const int64_t whole = (steps + 1) * batch * size;                                           \
      slot_of<R>(p, steps, batch, size, keep, pull, push, dt)                                     \
          .forward(W + p * 2 * size * size, states + p * 2 * whole, forces + p * whole);          \
    });                                                                                           \
  }                                                                                               \
  extern "C" void cornn_backward_##suffix(                                                        \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, const R* W,     \
      const R* keep, const R* pull, const R* push, const R* dt, const R* forces, R* by_states,    \
      R* by_inputs) {                                                                             \
    each(slots, threads, [=](int64_t p) {                                                         \
      const int64_t whole = (steps + 1) * batch * size;                                           \
      slot_of<R>(p, steps, batch, size, keep, pull, push, dt)                                     \
          .backward(W + p * 2 * size * size, forces + p * whole, by_states + p * 2 * whole,       \
                    by_inputs + p * whole);                                                       \
    });                                                                                           \
  }

LONGHAUL_CORNN(float, float32)
LONGHAUL_CORNN(double, float64)
