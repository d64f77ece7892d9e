// The Elman scan h_t = phi(W h_{t-1} + z_t), forward and backward, of P slots.
//
// W (P, H, H), z (P, T, B, H), states and gradients (P, T + 1, B, H), parameter (P, H).

#include "phi.hpp"

namespace {

template <class R> struct Slot {
  int64_t steps, batch, size;
  int64_t phi;
  const R* parameter;

  void forward(const R* W, const R* z, R* states) const {
    const int64_t stride = padded<R>(size), step = batch * size;
    Panels<R> transposed(size, size, [=](int64_t k, int64_t j) { return W[j * size + k]; });
    Buffer<R> here(batch * stride), next(batch * stride), parameters(stride);
    R *h = here.get(), *n = next.get();
    spread<R>(1, size, stride, parameter, parameters.get());
    spread<R>(batch, size, stride, states, h);
    for (int64_t t = 0; t < steps; ++t) {
      spread<R>(batch, size, stride, z + t * step, n);
      transposed.multiply_add(batch, h, stride, n, stride);
      for (int64_t b = 0; b < batch; ++b)
        apply<R>(phi, stride, parameters.get(), n + b * stride);
      gather<R>(batch, size, stride, n, states + (t + 1) * step);
      std::swap(h, n);
    }
  }

  void backward(const R* W, const R* states, R* gradients) const {
    const int64_t stride = padded<R>(size), step = batch * size;
    Panels<R> straight(size, size, [=](int64_t k, int64_t j) { return W[k * size + j]; });
    Buffer<R> here(batch * stride), before(batch * stride), output(stride), parameters(stride);
    R *g = here.get(), *p = before.get();
    spread<R>(1, size, stride, parameter, parameters.get());
    spread<R>(batch, size, stride, gradients + steps * step, g);
    for (int64_t t = steps; t > 0; --t) {
      for (int64_t b = 0; b < batch; ++b) {
        std::memcpy(static_cast<void*>(output.get()), states + t * step + b * size,
                    size * sizeof(R));
        pull_back<R>(phi, stride, parameters.get(), output.get(), g + b * stride);
      }
      gather<R>(batch, size, stride, g, gradients + t * step);
      spread<R>(batch, size, stride, gradients + (t - 1) * step, p);
      straight.multiply_add(batch, g, stride, p, stride);
      std::swap(g, p);
    }
    gather<R>(batch, size, stride, g, gradients);
  }
};

template <class R>
void forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t phi,
             const R* parameter, const R* W, const R* z, R* states) {
  each(slots, threads, [=](int64_t p) {
    Slot<R>{steps, batch, size, phi, parameter + p * size}.forward(
        W + p * size * size, z + p * steps * batch * size, states + p * (steps + 1) * batch * size);
  });
}

template <class R>
void backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t phi,
              const R* parameter, const R* W, const R* states, R* gradients) {
  each(slots, threads, [=](int64_t p) {
    const int64_t whole = (steps + 1) * batch * size;
    Slot<R>{steps, batch, size, phi, parameter + p * size}.backward(
        W + p * size * size, states + p * whole, gradients + p * whole);
  });
}

}  // namespace

#define LONGHAUL_ELMAN(R, suffix)                                                                 \
  extern "C" void elman_forward_##suffix(int64_t slots, int64_t steps, int64_t batch,             \
                                         int64_t size, int64_t threads, int64_t phi,              \
                                         const R* parameter, const R* W, const R* z, R* states) { \
    forward<R>(slots, steps, batch, size, threads, phi, parameter, W, z, states);                 \
  }                                                                                               \
  extern "C" void elman_backward_##suffix(int64_t slots, int64_t steps, int64_t batch,            \
                                          int64_t size, int64_t threads, int64_t phi,             \
                                          const R* parameter, const R* W, const R* states,        \
                                          R* gradients) {                                         \
    backward<R>(slots, steps, batch, size, threads, phi, parameter, W, states, gradients);        \
  }

LONGHAUL_ELMAN(float, float32)
LONGHAUL_ELMAN(double, float64)
