// The Elman scan h_t = phi(W h_{t-1} + z_t), forward and backward, of P slots.
//
// W (P, H, H), parameter (P, H), states (P, T + 1, B, H). Either z (P, T, B, H) is given, or
// z = V x + b with x (P, T, B, I), V (P, H, I), b (P, H), which is then never stored.

#include "phi.hpp"
#include "weight_sums.hpp"

namespace {

// Sizes, and one slot's arrays that both directions read; x, V and bias null where z is given.
template <class R> struct Elman {
  int64_t steps, batch, size, inputs, phi;
  const R *parameter, *W, *x, *V, *bias;

  int64_t stride() const { return padded<R>(size); }
  bool whole() const { return stride() == size; }

  // Rows [first, end) of the batch; z null where x is given. Step 0 of the states is given.
  void forward(const Panels<R>& recurrent, const Panels<R>& input, int64_t first, int64_t end,
               const R* z, R* states) const {
    const int64_t rows = end - first, step = batch * size, width = stride();
    const int64_t staged = whole() ? 0 : rows * width;
    Buffer<R> here(staged), next(staged), padded_bias(width), parameters(width);
    spread<R>(1, size, width, parameter, parameters.get());
    if (bias) spread<R>(1, size, width, bias, padded_bias.get());
    states += first * size;
    R *h = whole() ? states : here.get(), *n = next.get();
    if (!whole()) spread<R>(rows, size, width, states, h);
    for (int64_t t = 0; t < steps; ++t) {
      R* const outside = states + (t + 1) * step;
      if (whole()) n = outside;
      const R* init = n;
      if (x) {
        input.multiply(rows, x + (t * batch + first) * inputs, inputs, padded_bias.get(), 0, n,
                       width);
      } else if (whole()) {
        init = z + t * step + first * size;
      } else {
        spread<R>(rows, size, width, z + t * step + first * size, n);
      }
      recurrent.multiply(rows, h, width, init, width, n, width);
      for (int64_t r = 0; r < rows; ++r) apply<R>(phi, width, parameters.get(), n + r * width);
      if (!whole()) gather<R>(rows, size, width, n, outside);
      std::swap(h, n);
    }
  }
};

// What the backward pass reads and writes besides; null where it is not wanted.
template <class R> struct Gradients {
  const R *states, *given;  // (P, T + 1, B, H); (P, T, B, H), the loss's gradients by the states
  R *by_W, *by_V, *by_bias, *by_parameter, *by_z, *by_initial;  // by_z (P, T, B, H)
  bool weighted() const { return by_W || by_V || by_bias; }
};

// What one chunk adds to the gradients that are summed over rows.
template <class R> struct Share {
  Share(const Elman<R>& slot, int64_t depth)
      : weights(slot.size + slot.inputs + (slot.bias != nullptr), slot.size, depth),
        parameter(slot.size) {}
  WeightSums<R> weights;
  Buffer<R> parameter;
};

// Chunks [from, to) of one slot, whose arrays `all` holds.
template <class R> class Backward {
 public:
  Backward(const Elman<R>& slot, const Gradients<R>& all, const Chunks& chunks, int64_t from,
           int64_t to, std::unique_ptr<Share<R>>* shares)
      : slot_(slot),
        all_(all),
        chunks_(chunks),
        from_(from),
        to_(to),
        shares_(shares),
        first_(chunks.first(from)),
        rows_(chunks.first(to) - first_),
        width_(slot.stride()),
        step_(slot.batch * slot.size),
        block_(block_of(slot.steps, chunks)),
        ring_(block_ * rows_ * width_),
        staged_(slot.whole() ? 0 : rows_ * width_),
        output_(width_),
        parameters_(width_) {
    spread<R>(1, slot.size, width_, slot.parameter, parameters_.get());
  }

  void run(const Panels<R>& straight) {
    const R* later = nullptr;
    for (int64_t t = slot_.steps; t > 0; --t) {
      const int64_t place = (slot_.steps - t) % block_;
      R* const g = ring_.get() + place * rows_ * width_;
      const R* given = padded_rows(all_.given + (t - 1) * step_);
      if (later)
        straight.multiply(rows_, later, width_, given, width_, g, width_);
      else
        std::memcpy(static_cast<void*>(g), given, rows_ * width_ * sizeof(R));
      through_phi(all_.states + t * step_ + first_ * slot_.size, g);
      if (all_.by_z)
        gather<R>(rows_, slot_.size, width_, g, all_.by_z + (t - 1) * step_ + first_ * slot_.size);
      if (all_.weighted() && (place + 1 == block_ || t == 1)) add_block(t + place, place + 1);
      later = g;
    }
    if (!all_.by_initial) return;
    Buffer<R> nothing(width_), result(rows_ * width_);
    straight.multiply(rows_, later, width_, nothing.get(), 0, result.get(), width_);
    gather<R>(rows_, slot_.size, width_, result.get(), all_.by_initial + first_ * slot_.size);
  }

 private:
  const R* padded_rows(const R* batch) {
    const R* rows = batch + first_ * slot_.size;
    if (slot_.whole()) return rows;
    spread<R>(rows_, slot_.size, width_, rows, staged_.get());
    return staged_.get();
  }

  // g becomes the gradient by z of the rows of h.
  void through_phi(const R* h, R* g) {
    for (int64_t r = 0; r < rows_; ++r) {
      const R* out = h + r * slot_.size;
      if (!slot_.whole()) {
        std::memcpy(static_cast<void*>(output_.get()), out, slot_.size * sizeof(R));
        out = output_.get();
      }
      pull_back<R>(slot_.phi, width_, parameters_.get(), out, g + r * width_);
    }
    if (!all_.by_parameter) return;
    for (int64_t c = from_; c < to_; ++c)
      for (int64_t r = chunks_.first(c) - first_; r < chunks_.first(c + 1) - first_; ++r)
        add_signed<R>(slot_.size, h + r * slot_.size, g + r * width_, shares_[c]->parameter.get());
  }

  // The gradients at the first `count` places of the ring, those of step `last` first.
  void add_block(int64_t last, int64_t count) {
    for (int64_t c = from_; c < to_; ++c) {
      const int64_t begin = chunks_.first(c), rows = chunks_.first(c + 1) - begin;
      WeightSums<R>& sums = shares_[c]->weights;
      sums.begin(count * rows);
      for (int64_t place = 0; place < count; ++place) {
        const int64_t before = last - place - 1;
        const R* x = slot_.x ? slot_.x + (before * slot_.batch + begin) * slot_.inputs : nullptr;
        sums.add(rows, ring_.get() + (place * rows_ + begin - first_) * width_, width_,
                 all_.states + before * step_ + begin * slot_.size, slot_.size, x, slot_.inputs);
      }
      sums.end();
    }
  }

  const Elman<R>& slot_;
  const Gradients<R> all_;
  const Chunks& chunks_;
  const int64_t from_, to_;
  std::unique_ptr<Share<R>>* const shares_;
  const int64_t first_, rows_, width_, step_, block_;
  Buffer<R> ring_, staged_, output_, parameters_;
};

// Adds up the chunks' shares into one slot's gradients.
template <class R>
void add_shares(const Elman<R>& slot, const Gradients<R>& all, int64_t count,
                const std::unique_ptr<Share<R>>* shares) {
  const auto sum = [=](int64_t row, int64_t column) {
    R total = shares[0]->weights.at(row, column);
    for (int64_t c = 1; c < count; ++c) total += shares[c]->weights.at(row, column);
    return total;
  };
  const int64_t size = slot.size, inputs = slot.inputs;
  for (int64_t i = 0; i < size; ++i) {
    if (all.by_W)
      for (int64_t j = 0; j < size; ++j) all.by_W[i * size + j] = sum(i, j);
    if (all.by_V)
      for (int64_t j = 0; j < inputs; ++j) all.by_V[i * inputs + j] = sum(i, size + j);
    if (all.by_bias) all.by_bias[i] = sum(i, size + inputs);
    if (!all.by_parameter) continue;
    all.by_parameter[i] = shares[0]->parameter.get()[i];
    for (int64_t c = 1; c < count; ++c) all.by_parameter[i] += shares[c]->parameter.get()[i];
  }
}

template <class T> T* slot_of(int64_t slot, int64_t size, T* array) {
  return array ? array + slot * size : nullptr;
}

template <class R> class Pack {
 public:
  Pack(int64_t slots, int64_t threads, const Elman<R>& first)
      : slots_(slots), threads_(threads), all_(first), chunks_(first.batch) {}

  void forward(const R* z, R* states) const {
    const int64_t size = all_.size, inputs = all_.inputs, step = all_.batch * size;
    std::vector<std::unique_ptr<Panels<R>>> recurrent(slots_), input(slots_);
    each(slots_, threads_, [&](int64_t p) {
      const R *W = slot(p).W, *V = slot(p).V;
      recurrent[p].reset(
          new Panels<R>(size, size, [=](int64_t k, int64_t j) { return W[j * size + k]; }));
      input[p].reset(
          new Panels<R>(inputs, size, [=](int64_t k, int64_t j) { return V[j * inputs + k]; }));
    });
    each_part(slots_, chunks_, threads_, [&](int64_t p, int64_t from, int64_t to) {
      slot(p).forward(*recurrent[p], *input[p], chunks_.first(from), chunks_.first(to),
                      slot_of(p, all_.steps * step, z), states + p * (all_.steps + 1) * step);
    });
  }

  void backward(const Gradients<R>& all) const {
    const int64_t size = all_.size, count = chunks_.count;
    const int64_t depth = block_of(all_.steps, chunks_) * ((all_.batch + count - 1) / count);
    std::vector<std::unique_ptr<Panels<R>>> straight(slots_);
    std::vector<std::unique_ptr<Share<R>>> shares(slots_ * count);
    each(slots_, threads_, [&](int64_t p) {
      const R* W = slot(p).W;
      straight[p].reset(
          new Panels<R>(size, size, [=](int64_t k, int64_t j) { return W[k * size + j]; }));
      for (int64_t c = 0; c < count; ++c) shares[p * count + c].reset(new Share<R>(slot(p), depth));
    });
    each_part(slots_, chunks_, threads_, [&](int64_t p, int64_t from, int64_t to) {
      const Elman<R> one = slot(p);
      Backward<R>(one, of(p, all), chunks_, from, to, &shares[p * count]).run(*straight[p]);
    });
    each(slots_, threads_,
         [&](int64_t p) { add_shares<R>(slot(p), of(p, all), count, &shares[p * count]); });
  }

 private:
  Elman<R> slot(int64_t p) const {
    Elman<R> one = all_;
    one.parameter += p * all_.size;
    one.W += p * all_.size * all_.size;
    one.x = slot_of(p, all_.steps * all_.batch * all_.inputs, all_.x);
    one.V = slot_of(p, all_.size * all_.inputs, all_.V);
    one.bias = slot_of(p, all_.size, all_.bias);
    return one;
  }

  Gradients<R> of(int64_t p, const Gradients<R>& all) const {
    const int64_t size = all_.size, step = all_.batch * size;
    return {all.states + p * (all_.steps + 1) * step,
            all.given + p * all_.steps * step,
            slot_of(p, size * size, all.by_W),
            slot_of(p, size * all_.inputs, all.by_V),
            slot_of(p, size, all.by_bias),
            slot_of(p, size, all.by_parameter),
            slot_of(p, all_.steps * step, all.by_z),
            slot_of(p, step, all.by_initial)};
  }

  const int64_t slots_, threads_;
  const Elman<R> all_;
  const Chunks chunks_;
};

}  // namespace

#define LONGHAUL_ELMAN(R, suffix)                                                                 \
  extern "C" void elman_forward_##suffix(                                                         \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t inputs, \
      int64_t phi, const R* parameter, const R* W, const R* x, const R* V, const R* bias,         \
      const R* z, R* states) {                                                                    \
    Pack<R>(slots, threads, {steps, batch, size, inputs, phi, parameter, W, x, V, bias})          \
        .forward(z, states);                                                                      \
  }                                                                                               \
  extern "C" void elman_backward_##suffix(                                                        \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t inputs, \
      int64_t phi, const R* parameter, const R* W, const R* x, const R* V, const R* bias,         \
      const R* states, const R* given, R* by_W, R* by_V, R* by_bias, R* by_parameter, R* by_z,    \
      R* by_initial) {                                                                            \
    Pack<R>(slots, threads, {steps, batch, size, inputs, phi, parameter, W, x, V, bias})          \
        .backward({states, given, by_W, by_V, by_bias, by_parameter, by_z, by_initial});          \
  }

LONGHAUL_ELMAN(float, float32)
LONGHAUL_ELMAN(double, float64)
