// W = P Theta P^T of every slot: Theta has 2x2 blocks gamma [[cos, -sin], [sin, cos]] on its diagonal
// and what `triangle` holds, row after row, below these, or below the diagonal itself.

#include "square.hpp"

namespace {

// One slot's factors; the tape holds P and P Theta.
class Schur {
 public:
  Schur(int64_t size, int64_t threads, bool below_blocks, const float* theta, const float* gamma,
        const float* triangle, float* tape)
      : of_(size, threads),
        below_blocks_(below_blocks),
        theta_(theta),
        gamma_(gamma),
        triangle_(triangle),
        P_(tape),
        product_(tape + of_.count) {}

  void forward(const float* P, float* result) const {
    const int64_t stride = of_.stride;
    const Room<float> theta(of_.count), turned(of_.count);
    spread<float>(of_.size, of_.size, stride, P, P_);
    of_.clear_padding(P_);
    fill(false, theta.get());
    of_.multiply(P_, theta.get(), nullptr, product_);
    float *const to = turned.get(), *const from = P_;
    of_.blockwise([=](int64_t i, int64_t j) { to[i * stride + j] = from[j * stride + i]; });
    of_.clear_padding(to);
    of_.multiply(product_, to, nullptr, theta.get());
    gather<float>(of_.size, of_.size, stride, theta.get(), result);
  }

  // by_gamma null where gamma is.
  void backward(const float* given, float* by_P, float* by_theta, float* by_gamma,
                float* by_triangle) const {
    const int64_t size = of_.size, stride = of_.stride;
    const Room<float> G(of_.count), GP(of_.count), turned(of_.count), result(of_.count);
    spread<float>(size, size, stride, given, G.get());
    of_.clear_padding(G.get());
    of_.multiply(G.get(), P_, nullptr, GP.get());
    fill(true, turned.get());
    of_.multiply(GP.get(), turned.get(), nullptr, result.get());
    of_.multiply_turned(G.get(), product_, result.get(), result.get());
    gather<float>(size, size, stride, result.get(), by_P);
    of_.multiply_turned(P_, GP.get(), nullptr, result.get());
    const float* const found = result.get();
    for (int64_t k = 0; k < size / 2; ++k) {
      const float* const block = found + 2 * k * (stride + 1);
      const float straight = block[0] + block[stride + 1], crossed = block[stride] - block[1];
      const float c = std::cos(theta_[k]), s = std::sin(theta_[k]);
      by_theta[k] = (gamma_ ? gamma_[k] : 1.0f) * (c * crossed - s * straight);
      if (gamma_) by_gamma[k] = c * straight + s * crossed;
    }
    for (int64_t i = 0; i < size; by_triangle += entries(i), ++i)
      std::memcpy(static_cast<void*>(by_triangle), found + i * stride, entries(i) * sizeof(float));
  }

 private:
  // How many entries of row i there are below the diagonal or its blocks.
  int64_t entries(int64_t i) const { return below_blocks_ ? i / 2 * 2 : i; }

  // Theta, or its transpose.
  void fill(bool turn, float* to) const {
    const int64_t down = turn ? 1 : of_.stride, right = turn ? of_.stride : 1;
    std::memset(static_cast<void*>(to), 0, of_.count * sizeof(float));
    const float* from = triangle_;
    for (int64_t i = 0; i < of_.size; from += entries(i), ++i)
      for (int64_t j = 0; j < entries(i); ++j) to[i * down + j * right] = from[j];
    for (int64_t k = 0; k < of_.size / 2; ++k) {
      float* const block = to + 2 * k * (of_.stride + 1);
      const float modulus = gamma_ ? gamma_[k] : 1.0f;
      const float c = modulus * std::cos(theta_[k]), s = modulus * std::sin(theta_[k]);
      block[0] = block[of_.stride + 1] = c;
      block[right] -= s;
      block[down] += s;
    }
  }

  const Squares<float> of_;
  const bool below_blocks_;
  const float *const theta_, *const gamma_, *const triangle_;
  float *const P_, *const product_;
};

// Runs work(slot's number, factors) for all slots; tape (P, 2 matrices).
template <class Work>
void each_schur(int64_t slots, int64_t size, int64_t threads, int64_t below_blocks,
                const float* theta, const float* gamma, const float* triangle, float* tape,
                Work work) {
  const int64_t half = size / 2, entries = size * (size - 1) / 2 - (below_blocks ? half : 0);
  each_slot(slots, threads, [=](int64_t p, int64_t mine) {
    work(p, Schur(size, mine, below_blocks != 0, theta + p * half, gamma ? gamma + p * half : gamma,
                  triangle + p * entries, tape + p * 2 * size * padded<float>(size)));
  });
}

}  // namespace

// How many numbers one slot's tape holds.
extern "C" int64_t schur_tape(int64_t size) { return 2 * size * padded<float>(size); }

// P (P, H, H), theta and gamma (P, H / 2), gamma null for 1 everywhere, triangle (P, its entries),
// result (P, H, H).
extern "C" void schur_forward(int64_t slots, int64_t size, int64_t threads, int64_t below_blocks,
                              const float* theta, const float* gamma, const float* triangle,
                              float* tape, const float* P, float* result) {
  each_schur(slots, size, threads, below_blocks, theta, gamma, triangle, tape,
             [=](int64_t p, const Schur& slot) {
               slot.forward(P + p * size * size, result + p * size * size);
             });
}

extern "C" void schur_backward(int64_t slots, int64_t size, int64_t threads, int64_t below_blocks,
                               const float* theta, const float* gamma, const float* triangle,
                               float* tape, const float* given, float* by_P, float* by_theta,
                               float* by_gamma, float* by_triangle) {
  const int64_t half = size / 2, entries = size * (size - 1) / 2 - (below_blocks ? half : 0);
  each_schur(slots, size, threads, below_blocks, theta, gamma, triangle, tape,
             [=](int64_t p, const Schur& slot) {
               slot.backward(given + p * size * size, by_P + p * size * size, by_theta + p * half,
                             by_gamma ? by_gamma + p * half : by_gamma, by_triangle + p * entries);
             });
}
