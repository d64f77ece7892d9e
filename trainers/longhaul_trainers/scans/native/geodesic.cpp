// The step W <- (I + Y)^-1 (I - Y) W of real orthogonal matrices in float, Y = eta / 2 (G W^T - W G^T),
// where Y is small, as it is in training: W - 2 Y (W - Y (W - ...)).
//
// What is added to W is small too, so that float is enough for it; the rounding that counts is that
// of the sum. Along the curve W^T W stays what it was, so what brings W nearer to orthogonality,
// W (I - W^T W) / 2, is taken from the old W. It alone needs double, as it is a difference.

#include "square.hpp"

namespace {

constexpr float kSmall = 0.125f, kExact = 1e-8f;

// As many terms of the series as leave less than kExact; 0 where Y is not small.
int terms_for(float norm) {
  if (!(norm <= kSmall)) return 0;
  int terms = 1;
  for (float left = 2 * norm * norm; left > kExact; left *= norm) ++terms;
  return terms;
}

bool finite(int64_t count, const float* numbers) {
  float total = 0;  // 0 times what is not finite is NaN
  for (int64_t i = 0; i < count; ++i) total += 0 * numbers[i];
  return total == 0;
}

class Step {
 public:
  explicit Step(int64_t size) : of_(size, 1), wide_(size, 1) {}

  // Returns whether it was made.
  bool run(double rate, const float* parameter, const float* gradient, float* moved) const {
    const int64_t size = of_.size, stride = of_.stride, count = of_.count;
    if (!finite(size * size, parameter) || !finite(size * size, gradient)) return false;
    const Room<float> W(count), G(count), turned(count), Y(count), term(count), next(count);
    spread<float>(size, size, stride, parameter, W.get());
    spread<float>(size, size, stride, gradient, G.get());
    for (float* one : {W.get(), G.get(), turned.get(), Y.get()}) of_.clear_padding(one);
    float *const w = W.get(), *const t = turned.get(), *const y = Y.get(), *const g = G.get();
    of_.blockwise([=](int64_t i, int64_t j) { t[i * stride + j] = w[j * stride + i]; });
    of_.multiply(g, t, nullptr, term.get());
    const float *const product = term.get(), half = static_cast<float>(rate / 2);
    of_.blockwise([=](int64_t i, int64_t j) {
      y[i * stride + j] = half * (product[i * stride + j] - product[j * stride + i]);
    });
    const int terms = terms_for(of_.infinity_norm(y));
    if (terms == 0) return false;
    for (int64_t i = 0; i < count; ++i) y[i] = -y[i];
    float *series = term.get(), *spare = next.get();
    std::memcpy(static_cast<void*>(series), w, count * sizeof(float));
    for (int k = 1; k < terms; ++k) {
      of_.multiply(y, series, w, spare);
      std::swap(series, spare);
    }
    of_.multiply(y, series, nullptr, spare);  // half of what is added to W
    float *const added = spare, *const missing = g;
    for (int64_t i = 0; i < count; ++i) added[i] *= 2;
    half_deviation(w, missing);
    for (int64_t i = 0; i < count; ++i) series[i] = w[i] + added[i];
    of_.multiply(series, missing, added, t);
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j)
        moved[i * size + j] = w[i * stride + j] + t[i * stride + j];
    return true;
  }

 private:
  // (I - W^T W) / 2.
  void half_deviation(const float* w, float* result) const {
    const int64_t size = of_.size, stride = of_.stride, wide = wide_.stride;
    const Room<double> exact(wide_.count), squares(wide_.count);
    for (int64_t i = 0; i < size; ++i) {
      double* const to = exact.get() + i * wide;
      for (int64_t j = 0; j < wide; ++j) to[j] = w[i * stride + j];
    }
    wide_.multiply_turned(exact.get(), exact.get(), nullptr, squares.get());
    for (int64_t i = 0; i < size; ++i) {
      double* const from = squares.get() + i * wide;
      from[i] -= 1;
      for (int64_t j = 0; j < size; ++j)
        result[i * stride + j] = static_cast<float>(-0.5 * from[j]);
    }
    of_.clear_padding(result);
  }

  const Squares<float> of_;
  const Squares<double> wide_;
};

}  // namespace

// parameter, gradient and moved (P, n, n), rate and made (P). Where `made` is 0 the step is too large
// or something is not finite, and `moved` is left as it is.
extern "C" void geodesic_step(int64_t slots, int64_t size, int64_t threads, const double* rate,
                              const float* parameter, const float* gradient, float* moved,
                              int64_t* made) {
  each(slots, threads, [=](int64_t p) {
    const int64_t mine = p * size * size;
    made[p] = Step(size).run(rate[p], parameter + mine, gradient + mine, moved + mine);
  });
}
