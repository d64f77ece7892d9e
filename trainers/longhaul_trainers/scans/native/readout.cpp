// The linear readout y = h K + k of every row, forward and backward, of P slots; and the mean cross
// entropy of rows of logits with its gradient.
//
// K (P, H, O), k (P, O), y (P, N, O) for N rows a slot. A slot's rows of h are next to each other,
// its first one `apart` numbers after that of the slot before.

#include <utility>

#include "scan.hpp"

namespace {

// Parts of N rows; how many depends on N alone, as what is summed over rows is summed in each part.
struct Parts {
  int64_t rows, count;
  explicit Parts(int64_t rows)
      : rows(rows), count(std::max<int64_t>(1, std::min<int64_t>(8, rows / 256))) {}
  int64_t first(int64_t part) const { return part * rows / count; }
};

constexpr int64_t kBlock = 128;  // rows that are worked on while they are in cache

template <class R> struct Readout {
  int64_t slots, rows, size, classes, threads, apart;
  const R *h, *K;

  void forward(const R* k, R* y) const {
    const int64_t width = padded<R>(classes);
    const Parts parts(rows);
    std::vector<std::unique_ptr<Panels<R>>> panels(slots);
    each(slots, 1, [&](int64_t p) {
      const R* mine = K + p * size * classes;
      panels[p].reset(new Panels<R>(
          size, classes, [=](int64_t i, int64_t j) { return mine[i * classes + j]; }));
    });
    each(slots * parts.count, threads, [&](int64_t item) {
      const int64_t p = item / parts.count, part = item % parts.count;
      Buffer<R> bias(width), block(kBlock * width);
      spread<R>(1, classes, width, k + p * classes, bias.get());
      for (int64_t n = parts.first(part); n < parts.first(part + 1); n += kBlock) {
        const int64_t count = std::min(kBlock, parts.first(part + 1) - n);
        panels[p]->multiply(count, h + p * apart + n * size, size, bias.get(), 0, block.get(),
                            width);
        gather<R>(count, classes, width, block.get(), y + (p * rows + n) * classes);
      }
    });
  }

  // by_h (P, N, H); null what is not wanted.
  void backward(const R* by_y, R* by_h, R* by_K, R* by_k) const {
    const int64_t width = padded<R>(classes), wide = padded<R>(size);
    const Parts parts(rows);
    std::vector<std::unique_ptr<Panels<R>>> panels(slots);
    each(slots, 1, [&](int64_t p) {
      const R* mine = K + p * size * classes;
      panels[p].reset(new Panels<R>(
          classes, size, [=](int64_t i, int64_t j) { return mine[j * classes + i]; }));
    });
    std::vector<std::unique_ptr<Buffer<R>>> sums(slots * parts.count);
    for (auto& one : sums) one.reset(new Buffer<R>((size + 1) * width));
    each(slots * parts.count, threads, [&](int64_t item) {
      const int64_t p = item / parts.count, part = item % parts.count;
      R* const sum = sums[item]->get();
      Buffer<R> nothing(wide), spare(wide == size ? 0 : kBlock * wide),
          block(kBlock * kTileVectors * lanes<R>() + kBlock * width);
      for (int64_t n = parts.first(part); n < parts.first(part + 1); n += kBlock) {
        const int64_t count = std::min(kBlock, parts.first(part + 1) - n);
        const R* given = by_y + (p * rows + n) * classes;
        if (by_h) {
          R* const outside = by_h + (p * rows + n) * size;
          R* const to = wide == size ? outside : spare.get();
          panels[p]->multiply(count, given, classes, nothing.get(), 0, to, wide);
          if (to != outside) gather<R>(count, size, wide, to, outside);
        }
        add_products(count, h + p * apart + n * size, given, block.get(), sum);
      }
    });
    for (int64_t p = 0; p < slots; ++p) add_parts(parts.count, &sums[p * parts.count], p, by_K, by_k);
  }

 private:
  // sum += h^T given, and in its last row the sum of given.
  void add_products(int64_t count, const R* h_rows, const R* given, R* block, R* sum) const {
    const int64_t width = padded<R>(classes), most = kTileVectors * lanes<R>();
    for (int64_t j = 0; j < width; j += most) {
      const int64_t columns = std::min(most, width - j), inside = std::min(columns, classes - j);
      for (int64_t r = 0; r < count; ++r) {
        std::memset(static_cast<void*>(block + r * columns), 0, columns * sizeof(R));
        std::memcpy(static_cast<void*>(block + r * columns), given + r * classes + j,
                    inside * sizeof(R));
        for (int64_t i = 0; i < columns; ++i) sum[size * width + j + i] += block[r * columns + i];
      }
      multiply_panels(size, count, columns, block, h_rows, 1, size, sum + j, width, sum + j,
                         width);
    }
  }

  void add_parts(int64_t count, const std::unique_ptr<Buffer<R>>* sums, int64_t p, R* by_K,
                 R* by_k) const {
    const int64_t width = padded<R>(classes);
    const auto total = [=](int64_t place) {
      R found = sums[0]->get()[place];
      for (int64_t c = 1; c < count; ++c) found += sums[c]->get()[place];
      return found;
    };
    for (int64_t o = 0; o < classes; ++o) {
      for (int64_t i = 0; i < size; ++i)
        by_K[(p * size + i) * classes + o] = total(i * width + o);
      by_k[p * classes + o] = total(size * width + o);
    }
  }
};

inline float exponential(float x) { return exp_of(x < -87.0f ? -87.0f : x); }
inline double exponential(double x) { return std::exp(x); }

// The sum of the costs of rows [first, end) in nats; gradient: softmax less the target, 0 where the
// target is ignored.
template <class R>
double cross_entropies(int64_t first, int64_t end, int64_t classes, const R* logits,
                       const int64_t* targets, int64_t ignored, R* gradient) {
  constexpr int64_t kRows = 64;  // at once, a class of all of them after the other
  constexpr int64_t kTogether = 16;
  Buffer<R> turned(classes * kRows);
  R* const x = turned.get();
  double total = 0, product = 1;
  for (int64_t n = first; n < end; n += kRows) {
    const int64_t count = std::min(kRows, end - n);
    R most[kRows], sum[kRows], scale[kRows];
    for (int64_t r = 0; r < count; ++r)
      for (int64_t o = 0; o < classes; ++o) x[o * kRows + r] = logits[(n + r) * classes + o];
    for (int64_t r = 0; r < kRows; ++r) most[r] = x[r], sum[r] = 0;
    for (int64_t o = 1; o < classes; ++o)
      for (int64_t r = 0; r < kRows; ++r)
        most[r] = x[o * kRows + r] > most[r] ? x[o * kRows + r] : most[r];
    for (int64_t o = 0; o < classes; ++o)
      for (int64_t r = 0; r < kRows; ++r) {
        x[o * kRows + r] = exponential(x[o * kRows + r] - most[r]);
        sum[r] += x[o * kRows + r];
      }
    for (int64_t r = 0; r < count; ++r) {
      const int64_t target = targets[n + r];
      scale[r] = target == ignored ? R(0) : 1 / sum[r];
      if (target != ignored) {
        total += static_cast<double>(most[r]) - logits[(n + r) * classes + target];
        product *= sum[r];  // in [1, classes], so that several together are far from infinite
      }
      if (r % kTogether == 0) total += std::log(std::exchange(product, 1.0));
    }
    total += std::log(std::exchange(product, 1.0));
    for (int64_t r = 0; r < count; ++r) {
      R* const to = gradient + (n + r) * classes;
      for (int64_t o = 0; o < classes; ++o) to[o] = x[o * kRows + r] * scale[r];
      if (targets[n + r] != ignored) to[targets[n + r]] -= R(1);
    }
  }
  return total;
}

// loss: the mean over the rows that count, NaN without any. False if a target is no class.
template <class R>
bool cross_entropy(int64_t rows, int64_t classes, int64_t threads, const R* logits,
                   const int64_t* targets, int64_t ignored, R* loss, R* gradient) {
  int64_t counted = 0;
  for (int64_t n = 0; n < rows; ++n) {
    if (targets[n] == ignored) continue;
    if (targets[n] < 0 || targets[n] >= classes) return false;
    ++counted;
  }
  const Parts parts(rows);
  std::vector<double> totals(parts.count);
  const R share = R(1) / static_cast<R>(counted);
  each(parts.count, threads, [&](int64_t part) {
    const int64_t first = parts.first(part), end = parts.first(part + 1);
    totals[part] = cross_entropies<R>(first, end, classes, logits, targets, ignored, gradient);
    for (int64_t i = first * classes; i < end * classes; ++i) gradient[i] *= share;
  });
  double total = 0;
  for (double one : totals) total += one;
  *loss = static_cast<R>(total / counted);
  return true;
}

}  // namespace

#define LONGHAUL_READOUT(R, suffix)                                                               \
  extern "C" void readout_forward_##suffix(int64_t slots, int64_t before_last, int64_t batch,     \
                                           int64_t size, int64_t threads, int64_t classes,        \
                                           int64_t h, int64_t apart, const R* K, const R* k,      \
                                           R* y) {                                                \
    Readout<R>{slots,   (before_last + 1) * batch,        size, classes, threads, apart,          \
               reinterpret_cast<const R*>(h), K}                                                  \
        .forward(k, y);                                                                           \
  }                                                                                               \
  extern "C" void readout_backward_##suffix(int64_t slots, int64_t before_last, int64_t batch,    \
                                            int64_t size, int64_t threads, int64_t classes,       \
                                            int64_t h, int64_t apart, const R* K, const R* by_y,  \
                                            R* by_h, R* by_K, R* by_k) {                          \
    Readout<R>{slots,   (before_last + 1) * batch,        size, classes, threads, apart,          \
               reinterpret_cast<const R*>(h), K}                                                  \
        .backward(by_y, by_h, by_K, by_k);                                                        \
  }                                                                                               \
  extern "C" int64_t cross_entropy_##suffix(int64_t rows, int64_t classes, int64_t threads,       \
                                            const R* logits, const int64_t* targets,              \
                                            int64_t ignored, R* loss, R* gradient) {              \
    return cross_entropy<R>(rows, classes, threads, logits, targets, ignored, loss, gradient);    \
  }

LONGHAUL_READOUT(float, float32)
LONGHAUL_READOUT(double, float64)
