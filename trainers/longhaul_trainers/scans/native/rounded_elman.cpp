// The Elman scan h_t = phi(W h_{t-1} + z_t) whose products read factors rounded to bfloat16.
//
// W (P, H, H), z (P, T, B, H), states and gradients (P, T + 1, B, H), parameter (P, H). Sequences
// go their own ways, so that a thread takes some rows of one slot's batch from the first step to
// the last, and no bit depends on which thread that is.

#include <memory>

#include "bfloat16.hpp"
#include "phi.hpp"

namespace {

struct Sizes {
  int64_t slots, steps, batch, size;
  int64_t width() const { return padded<float>(size); }
  int64_t whole() const { return (steps + 1) * batch * size; }
};

// Some rows of one slot; its arrays begin at the first of them.
struct Part {
  Sizes sizes;
  int64_t rows, phi;
  const float* parameter;

  void forward(RoundedMatrix& transposed, const float* z, float* states) const {
    const int64_t size = sizes.size, width = sizes.width(), step = sizes.batch * size;
    Buffer<float> buffer(kRoundedRows * width), parameters(width);
    RoundedRows read(width);
    Tiles tiles;
    float* h = buffer.get();
    spread<float>(1, size, width, parameter, parameters.get());
    spread<float>(rows, size, width, states, h);
    for (int64_t t = 0; t < sizes.steps; ++t) {
      read.take(rows, h);
      spread<float>(rows, size, width, z + t * step, h);
      transposed.multiply_add(rows, read, h, width);
      for (int64_t r = 0; r < rows; ++r) apply<float>(phi, width, parameters.get(), h + r * width);
      gather<float>(rows, size, width, h, states + (t + 1) * step);
    }
  }

  void backward(RoundedMatrix& straight, const float* states, float* gradients) const {
    const int64_t size = sizes.size, width = sizes.width(), step = sizes.batch * size;
    Buffer<float> buffer(kRoundedRows * width), outputs(kRoundedRows * width), parameters(width);
    RoundedRows read(width);
    Tiles tiles;
    float* g = buffer.get();
    spread<float>(1, size, width, parameter, parameters.get());
    spread<float>(rows, size, width, gradients + sizes.steps * step, g);
    for (int64_t t = sizes.steps; t > 0; --t) {
      spread<float>(rows, size, width, states + t * step, outputs.get());
      for (int64_t r = 0; r < rows; ++r)
        pull_back<float>(phi, width, parameters.get(), outputs.get() + r * width, g + r * width);
      gather<float>(rows, size, width, g, gradients + t * step);
      read.take(rows, g);
      spread<float>(rows, size, width, gradients + (t - 1) * step, g);
      straight.multiply_add(rows, read, g, width);
    }
    gather<float>(rows, size, width, g, gradients);
  }
};

// Runs work(slot, first row, number of rows, that slot's matrix) for the parts of all slots.
// element(slot, k, j) is row k, column j of the matrix.
template <class Element, class Work>
void each_rows(const Sizes& sizes, int64_t threads, Element element, Work work) {
  std::vector<std::unique_ptr<RoundedMatrix>> matrices(sizes.slots);
  each(sizes.slots, threads, [&](int64_t p) {
    matrices[p].reset(new RoundedMatrix(
        sizes.size, sizes.size, [=](int64_t k, int64_t j) { return element(p, k, j); }));
  });
  // Small parts where there would not be one for every thread.
  const bool few = sizes.slots * sizes.batch <= threads * kRoundedRows;
  const int64_t most = few ? kRoundedRows / 2 : kRoundedRows;
  const int64_t parts = (sizes.batch + most - 1) / most;
  each(sizes.slots * parts, threads, [&](int64_t item) {
    const int64_t p = item / parts, first = item % parts * most;
    work(p, first, std::min(most, sizes.batch - first), *matrices[p]);
  });
}

}  // namespace

extern "C" int64_t longhaul_has_tiles() { return has_tiles(); }

extern "C" void rounded_elman_forward_float32(int64_t slots, int64_t steps, int64_t batch,
                                              int64_t size, int64_t threads, int64_t phi,
                                              const float* parameter, const float* W,
                                              const float* z, float* states) {
  const Sizes sizes{slots, steps, batch, size};
  const auto element = [=](int64_t p, int64_t k, int64_t j) { return W[(p * size + j) * size + k]; };
  each_rows(sizes, threads, element,
            [=](int64_t p, int64_t first, int64_t rows, RoundedMatrix& transposed) {
              Part{sizes, rows, phi, parameter + p * size}.forward(
                  transposed, z + (p * steps * batch + first) * size,
                  states + p * sizes.whole() + first * size);
            });
}

extern "C" void rounded_elman_backward_float32(int64_t slots, int64_t steps, int64_t batch,
                                               int64_t size, int64_t threads, int64_t phi,
                                               const float* parameter, const float* W,
                                               const float* states, float* gradients) {
  const Sizes sizes{slots, steps, batch, size};
  const auto element = [=](int64_t p, int64_t k, int64_t j) { return W[(p * size + k) * size + j]; };
  each_rows(sizes, threads, element,
            [=](int64_t p, int64_t first, int64_t rows, RoundedMatrix& straight) {
              const int64_t from = p * sizes.whole() + first * size;
              Part{sizes, rows, phi, parameter + p * size}.backward(straight, states + from,
                                                                    gradients + from);
            });
}
