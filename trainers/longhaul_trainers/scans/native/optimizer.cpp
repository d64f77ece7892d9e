// The steps of the optimisers on one parameter of P slots, and the norms of gradients.
//
// A slot's numbers are worked on in blocks of one size, the last one filled up, so that there is one
// way only in which they round: the bits depend neither on a slot's place nor on its neighbours.

#include "scan.hpp"

namespace {

constexpr int kBlock = 64;

// One slot's arrays; first and second are the running averages, as far as there are any.
template <class R> struct Arrays {
  R* parameter;
  const R* gradient;
  R *first, *second;
};

// What a rule is told of one slot: its row of the table, its clipping factor, and how many steps it
// has taken with this one.
template <class R> struct Slot {
  const R* numbers;
  R scale;
  double steps;
};

// Heavy-ball descent; of the table: rate, decay, momentum.
template <class R> struct SGD {
  static constexpr int kNumbers = 3, kAverages = 1;
  R rate, decay, momentum, scale;
  explicit SGD(const Slot<R>& of)
      : rate(of.numbers[0]), decay(of.numbers[1]), momentum(of.numbers[2]), scale(of.scale) {}

  void operator()(R* parameter, const R* gradient, R* velocity, R*) const {
    for (int i = 0; i < kBlock; ++i) {
      const R g = gradient[i] * scale + decay * parameter[i];
      velocity[i] = velocity[i] * momentum + g;
      parameter[i] -= rate * velocity[i];
    }
  }
};

// Of the table: rate, decay, alpha, eps.
template <class R> struct RMSprop {
  static constexpr int kNumbers = 4, kAverages = 1;
  R rate, decay, alpha, eps, scale;
  explicit RMSprop(const Slot<R>& of)
      : rate(of.numbers[0]),
        decay(of.numbers[1]),
        alpha(of.numbers[2]),
        eps(of.numbers[3]),
        scale(of.scale) {}

  void operator()(R* parameter, const R* gradient, R* square, R*) const {
    for (int i = 0; i < kBlock; ++i) {
      const R g = gradient[i] * scale + decay * parameter[i];
      square[i] = square[i] * alpha + (1 - alpha) * (g * g);
      parameter[i] -= rate * g / (std::sqrt(square[i]) + eps);
    }
  }
};

// Of the table: rate, decay, beta1, beta2, eps. Decoupled: the decay bypasses the gradient.
template <class R, bool kDecoupled> struct Adam {
  static constexpr int kNumbers = 5, kAverages = 2;
  R rate, decay, beta1, beta2, eps, correction1, correction2, scale;
  explicit Adam(const Slot<R>& of)
      : rate(of.numbers[0]),
        decay(of.numbers[1]),
        beta1(of.numbers[2]),
        beta2(of.numbers[3]),
        eps(of.numbers[4]),
        correction1(static_cast<R>(1 - std::pow(static_cast<double>(beta1), of.steps))),
        correction2(static_cast<R>(1 - std::pow(static_cast<double>(beta2), of.steps))),
        scale(of.scale) {}

  void operator()(R* parameter, const R* gradient, R* mean, R* square) const {
    const R kept = kDecoupled ? 1 - rate * decay : R(1), coupled = kDecoupled ? R(0) : decay;
    for (int i = 0; i < kBlock; ++i) {
      const R g = gradient[i] * scale + coupled * parameter[i];
      mean[i] = mean[i] * beta1 + (1 - beta1) * g;
      square[i] = square[i] * beta2 + (1 - beta2) * (g * g);
      const R step = mean[i] / correction1 / (std::sqrt(square[i] / correction2) + eps);
      parameter[i] = kept * parameter[i] - rate * step;
    }
  }
};

// Not inlined: the compiler must make one program of it, for whole blocks and the last one.
template <class R, class Rule>
__attribute__((noinline)) void step_block(const Rule& rule, R* parameter, const R* gradient,
                                          R* first, R* second) {
  R p[kBlock], a[kBlock], b[kBlock];  // apart from all that they might overlap with
  std::memcpy(p, parameter, sizeof p);
  std::memcpy(a, first, sizeof a);
  if (Rule::kAverages > 1) std::memcpy(b, second, sizeof b);
  rule(p, gradient, a, b);
  std::memcpy(parameter, p, sizeof p);
  std::memcpy(first, a, sizeof a);
  if (Rule::kAverages > 1) std::memcpy(second, b, sizeof b);
}

template <class R, class Rule> void step_slot(int64_t size, const Rule& rule, Arrays<R> of) {
  for (; size >= kBlock; size -= kBlock) {
    step_block<R, Rule>(rule, of.parameter, of.gradient, of.first, of.second);
    of.parameter += kBlock;
    of.gradient += kBlock;
    of.first += kBlock;
    if (Rule::kAverages > 1) of.second += kBlock;
  }
  if (size == 0) return;
  const size_t bytes = size * sizeof(R);
  R p[kBlock] = {}, g[kBlock] = {}, a[kBlock] = {}, b[kBlock] = {};
  std::memcpy(p, of.parameter, bytes);
  std::memcpy(g, of.gradient, bytes);
  std::memcpy(a, of.first, bytes);
  if (Rule::kAverages > 1) std::memcpy(b, of.second, bytes);
  step_block<R, Rule>(rule, p, g, a, b);
  std::memcpy(of.parameter, p, bytes);
  std::memcpy(of.first, a, bytes);
  if (Rule::kAverages > 1) std::memcpy(of.second, b, bytes);
}

template <class R, template <class> class Rule>
void step(int64_t slots, int64_t size, const bool* active, const float* scale, const double* steps,
          const R* numbers, const Arrays<R>& all) {
  for (int64_t p = 0; p < slots; ++p) {
    if (!active[p]) continue;
    const Slot<R> slot{numbers + p * Rule<R>::kNumbers, static_cast<R>(scale[p]), steps[p]};
    step_slot<R, Rule<R>>(size, Rule<R>(slot),
                          {all.parameter + p * size, all.gradient + p * size, all.first + p * size,
                           all.second ? all.second + p * size : nullptr});
  }
}

template <class R> using AdamCoupled = Adam<R, false>;
template <class R> using AdamDecoupled = Adam<R, true>;

// totals += the sum of squares of each slot's numbers.
template <class R>
void add_squares(int64_t slots, int64_t size, const R* gradient, double* totals) {
  for (int64_t p = 0; p < slots; ++p, gradient += size) {
    double sums[kBlock] = {}, total = 0;
    int64_t i = 0;
    for (; i + kBlock <= size; i += kBlock)
      for (int l = 0; l < kBlock; ++l) {
        const double one = gradient[i + l];
        sums[l] += one * one;
      }
    R rest[kBlock] = {};
    std::memcpy(rest, gradient + i, (size - i) * sizeof(R));
    for (int l = 0; l < kBlock; ++l) {
      const double one = rest[l];
      sums[l] += one * one;
    }
    for (double one : sums) total += one;
    totals[p] += total;
  }
}

}  // namespace

// parameter, gradient, first and second (P, size), the latter null where the rule has none; active,
// scale and steps (P); numbers (P, as many as the rule has). Slots that are not active stay.
#define LONGHAUL_RULE(name, Rule, R, suffix)                                                      \
  extern "C" void name##_step_##suffix(int64_t slots, int64_t size, const bool* active,           \
                                       const float* scale, const double* steps, const R* numbers, \
                                       R* parameter, const R* gradient, R* first, R* second) {    \
    step<R, Rule>(slots, size, active, scale, steps, numbers,                                     \
                  {parameter, gradient, first, second});                                          \
  }
#define LONGHAUL_OPTIMIZERS(R, suffix)                                                            \
  LONGHAUL_RULE(sgd, SGD, R, suffix)                                                              \
  LONGHAUL_RULE(rmsprop, RMSprop, R, suffix)                                                      \
  LONGHAUL_RULE(adam, AdamCoupled, R, suffix)                                                     \
  LONGHAUL_RULE(adamw, AdamDecoupled, R, suffix)                                                  \
  extern "C" void add_squares_##suffix(int64_t slots, int64_t size, const R* gradient,            \
                                       double* totals) {                                          \
    add_squares<R>(slots, size, gradient, totals);                                                \
  }

LONGHAUL_OPTIMIZERS(float, float32)
LONGHAUL_OPTIMIZERS(double, float64)
