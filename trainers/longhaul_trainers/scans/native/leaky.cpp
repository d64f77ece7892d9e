// The leaky scan h_t = a h_{t-1} + A h_{t-1} + g phi(W h_{t-1} + z_t), forward and backward, of P
// slots.
//
// W and A (P, H, H), parameter (P, H), g and a (P,), z (P, T, B, H), states and activations, which
// are phi of every step, (P, T + 1, B, H). A and a may be null: 0 and 1.

#include "phi.hpp"
#include "rows.hpp"
#include "weight_sums.hpp"

namespace {

// What one slot's backward pass reads and writes besides; null where a gradient is not wanted.
template <class R> struct Gradients {
  const R *states, *activations, *given;  // given (P, T, B, H): the loss's gradients by the states
  R *by_W, *by_linear, *by_gain, *by_keep, *by_z, *by_initial;  // by_z (P, T, B, H)
};

// The sum of the products of two arrays of rows, unit by unit; long sums, hence the doubles.
template <class R> struct InnerProduct {
  explicit InnerProduct(int64_t size) : block(size), total(size) {}
  Buffer<R> block;
  Buffer<double> total;

  void add(int64_t size, const R* one, const R* other) {
    R* const sum = block.get();
    for (int64_t i = 0; i < size; ++i) sum[i] += one[i] * other[i];
  }

  void end(int64_t size) {
    for (int64_t i = 0; i < size; ++i) {
      total.get()[i] += block.get()[i];
      block.get()[i] = 0;
    }
  }
};

// What one chunk adds to the gradients that are summed over rows; those by W and, `width` units
// further, by A are one product.
template <class R> struct Share {
  Share(int64_t size, int64_t units) : weights(size, units), gain(size), keep(size) {}
  WeightSums<R> weights;
  InnerProduct<R> gain, keep;
};

// Sizes, and one slot's arrays that both directions read.
template <class R> struct Leaky {
  int64_t steps, batch, size, phi;
  const R *parameter, *W, *gain, *keep, *linear;

  R kept() const { return keep ? *keep : R(1); }

  // Step 0 of states is given.
  void forward(int64_t first, int64_t last, const R* z, R* states, R* activations) const {
    const Rows<R> rows(size, z, states, activations);
    const int64_t width = rows.width, count = last - first, step = batch * size;
    const Panels<R> recurrent = panels(W, true), direct = panels(linear, true);
    Buffer<R> parameters(width), both(rows.spare(2 * count)), spare(rows.spare(count));
    spread<R>(1, size, width, parameter, parameters.get());
    R* const here = both.get();
    const R* h = rows.read(states + first * size, here, count);
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * step + first * size;
      R* const phi_z = rows.place(activations + at + step, spare.get());
      R* const next = rows.place(states + at + step, here + (t % 2 ? 0 : rows.spare(count)));
      const R* const input = rows.read(z + at, phi_z, count);
      recurrent.multiply(count, h, width, input, width, phi_z, width);
      for (int64_t r = 0; r < count * width; r += width) {
        apply<R>(phi, width, parameters.get(), phi_z + r);
        advance(width, kept(), *gain, h + r, phi_z + r, next + r);
      }
      if (linear) direct.multiply_add(count, h, width, next, width);
      rows.finish(phi_z, activations + at + step, count);
      rows.finish(next, states + at + step, count);
      h = next;
    }
  }

  // Chunks [from, to), each with its share.
  void backward(const Gradients<R>& all, const Chunks& chunks, int64_t from, int64_t to,
                std::unique_ptr<Share<R>>* shares) const {
    const Rows<R> rows(size, all.activations, all.given);
    const int64_t first = chunks.first(from), count = chunks.first(to) - first;
    const int64_t width = rows.width, step = batch * size, block = block_of(steps, chunks);
    const int64_t pitch = linear ? 2 * width : width;  // a row by z, then by h where A needs it
    const Panels<R> recurrent = panels(W, false), direct = panels(linear, false);
    Buffer<R> parameters(width), carried(count * width), ring(block * count * pitch),
        by_h(width), output(width), given(width);
    spread<R>(1, size, width, parameter, parameters.get());
    for (int64_t t = steps; t > 0; --t) {
      const int64_t place = (steps - t) % block, at = t * step + first * size;
      R* const g = ring.get() + place * count * pitch;
      for (int64_t c = from; c < to; ++c)
        for (int64_t r = chunks.first(c) - first; r < chunks.first(c + 1) - first; ++r) {
          const R* const phi_z = all.activations + at + r * size;
          R* const by_z = g + r * pitch;
          R* const by = linear ? by_z + width : by_h.get();
          retreat(width, kept(), *gain, rows.read(all.given + at - step + r * size, given.get()),
                  carried.get() + r * width, by, by_z);
          pull_back<R>(phi, width, parameters.get(), rows.read(phi_z, output.get()), by_z);
          if (all.by_gain) shares[c]->gain.add(size, by, phi_z);
          if (all.by_keep) shares[c]->keep.add(size, by, all.states + at - step + r * size);
        }
      gather<R>(count, size, pitch, g, all.by_z + at - step);
      recurrent.multiply_add(count, g, pitch, carried.get(), width);
      if (linear) direct.multiply_add(count, g + width, pitch, carried.get(), width);
      if (place + 1 == block || t == 1)
        for (int64_t c = from; c < to; ++c)
          add_block(all, chunks.first(c), chunks.first(c + 1), t + place, place + 1,
                    ring.get() + (chunks.first(c) - first) * pitch, count * pitch, pitch,
                    *shares[c]);
    }
    gather<R>(count, size, width, carried.get(), all.by_initial + first * size);
  }

  // Adds up the chunks' shares.
  void finish(const Gradients<R>& all, int64_t count, std::unique_ptr<Share<R>>* shares) const {
    for (int64_t c = 1; c < count; ++c) shares[0]->weights.add(shares[c]->weights);
    const auto add_up = [&](int64_t begin, R* sums) {
      for (int64_t i = 0; sums && i < size; ++i)
        for (int64_t j = 0; j < size; ++j)
          sums[i * size + j] = shares[0]->weights.at(begin + i, j);
    };
    add_up(0, all.by_W);
    add_up(padded<R>(size), all.by_linear);
    if (all.by_gain) *all.by_gain = total(count, [=](int64_t c) { return &shares[c]->gain; });
    if (all.by_keep) *all.by_keep = total(count, [=](int64_t c) { return &shares[c]->keep; });
  }

 private:
  // A matrix to multiply rows of h (or of gradients, if not transposed) by; empty for none.
  Panels<R> panels(const R* matrix, bool transposed) const {
    const int64_t down = transposed ? 1 : size, along = transposed ? size : 1;
    return Panels<R>(matrix ? size : 0, size,
                     [=](int64_t k, int64_t j) { return matrix[k * down + j * along]; });
  }

  // The gradients of rows [begin, end) in the first `count` places of the ring, step `last` first.
  void add_block(const Gradients<R>& all, int64_t begin, int64_t end, int64_t last, int64_t count,
                 const R* ring, int64_t place_size, int64_t pitch, Share<R>& share) const {
    share.gain.end(size);
    share.keep.end(size);
    if (!all.by_W && !all.by_linear) return;
    share.weights.begin(count * (end - begin));
    for (int64_t place = 0; place < count; ++place)
      share.weights.add(end - begin, ring + place * place_size, pitch,
                        all.states + ((last - place - 1) * batch + begin) * size, size, nullptr, 0);
    share.weights.end();
  }

  template <class Of> R total(int64_t count, Of of) const {
    double sum = 0;
    for (int64_t c = 0; c < count; ++c)
      for (int64_t i = 0; i < size; ++i) sum += of(c)->total.get()[i];
    return static_cast<R>(sum);
  }

  static void advance(int64_t width, R a, R g, const R* __restrict h, const R* __restrict phi_z,
                      R* __restrict next) {
    for (int64_t u = 0; u < width; ++u) next[u] = a * h[u] + g * phi_z[u];
  }

  // carried: from the steps after, on entry; what goes on by a to the step before, on return.
  static void retreat(int64_t width, R a, R g, const R* __restrict given, R* __restrict carried,
                      R* __restrict by_h, R* __restrict by_phi) {
    for (int64_t u = 0; u < width; ++u) {
      const R d = given[u] + carried[u];
      by_h[u] = d;
      by_phi[u] = g * d;
      carried[u] = a * d;
    }
  }
};

template <class T> T* slot_of(int64_t slot, int64_t size, T* array) {
  return array ? array + slot * size : nullptr;
}

template <class R> class Pack {
 public:
  Pack(int64_t slots, int64_t threads, const Leaky<R>& first)
      : slots_(slots), threads_(threads), all_(first), chunks_(first.batch) {}

  void forward(const R* z, R* states, R* activations) const {
    const int64_t step = all_.batch * all_.size, all = all_.steps * step;
    each_share(slots_, all_.batch, threads_, [&](int64_t p, int64_t first, int64_t last) {
      slot(p).forward(first, last, z + p * all, states + p * (all + step),
                      activations + p * (all + step));
    });
  }

  void backward(const Gradients<R>& all) const {
    const int64_t size = all_.size, count = chunks_.count;
    const int64_t units = all_.linear ? 2 * padded<R>(size) : size;
    std::vector<std::unique_ptr<Share<R>>> shares(slots_ * count);
    each(slots_ * count, threads_,
         [&](int64_t i) { shares[i].reset(new Share<R>(size, units)); });
    each_part(slots_, chunks_, threads_, [&](int64_t p, int64_t from, int64_t to) {
      slot(p).backward(of(p, all), chunks_, from, to, &shares[p * count]);
    });
    each(slots_, threads_,
         [&](int64_t p) { slot(p).finish(of(p, all), count, &shares[p * count]); });
  }

 private:
  Leaky<R> slot(int64_t p) const {
    const int64_t size = all_.size;
    Leaky<R> one = all_;
    one.parameter += p * size;
    one.W += p * size * size;
    one.gain += p;
    one.keep = slot_of(p, 1, all_.keep);
    one.linear = slot_of(p, size * size, all_.linear);
    return one;
  }

  Gradients<R> of(int64_t p, const Gradients<R>& all) const {
    const int64_t square = all_.size * all_.size, step = all_.batch * all_.size;
    const int64_t steps = all_.steps * step;
    return {all.states + p * (steps + step),
            all.activations + p * (steps + step),
            all.given + p * steps,
            slot_of(p, square, all.by_W),
            slot_of(p, square, all.by_linear),
            slot_of(p, 1, all.by_gain),
            slot_of(p, 1, all.by_keep),
            all.by_z + p * steps,
            all.by_initial + p * step};
  }

  const int64_t slots_, threads_;
  const Leaky<R> all_;
  const Chunks chunks_;
};

}  // namespace

#define LONGHAUL_LEAKY(R, suffix)                                                                \
  extern "C" void leaky_forward_##suffix(                                                        \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t phi,   \
      const R* parameter, const R* W, const R* gain, const R* keep, const R* linear, const R* z, \
      R* states, R* activations) {                                                               \
    Pack<R>(slots, threads, {steps, batch, size, phi, parameter, W, gain, keep, linear})         \
        .forward(z, states, activations);                                                        \
  }                                                                                              \
  extern "C" void leaky_backward_##suffix(                                                       \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t phi,   \
      const R* parameter, const R* W, const R* gain, const R* keep, const R* linear,             \
      const R* states, const R* activations, const R* given, R* by_W, R* by_linear, R* by_gain,  \
      R* by_keep, R* by_z, R* by_initial) {                                                      \
    Pack<R>(slots, threads, {steps, batch, size, phi, parameter, W, gain, keep, linear})         \
        .backward({states, activations, given, by_W, by_linear, by_gain, by_keep, by_z,          \
                   by_initial});                                                                 \
  }

LONGHAUL_LEAKY(float, float32)
LONGHAUL_LEAKY(double, float64)
