// The Elman scan h_t = phi(W h_{t-1} + z_t), forward and backward, of P slots.
//
// W (P, H, H), parameter (P, H), states (P, T + 1, B, H). Either z (P, T, B, H) is given, or
// z = V x + b with x (P, T, B, I), V (P, H, I), b (P, H), which is then never stored. The states may
// be read while they are in cache: y = h K + k with K (P, H, O), k (P, O), y (P, T, B, O).

#include "phi.hpp"
#include "weight_sums.hpp"

namespace {

// Sizes, and one slot's arrays that both directions read; x, V and bias null where z is given, K
// null and no classes where nothing is read.
template <class R> struct Elman {
  int64_t steps, batch, size, inputs, classes, phi;
  const R *parameter, *W, *x, *V, *bias, *K;

  int64_t stride() const { return padded<R>(size); }
  bool whole() const { return stride() == size; }

  // The matrices of a step forward, as second factors.
  struct Forward {
    Panels<R> recurrent, input, readout;
  };
  std::unique_ptr<Forward> forward_matrices() const {
    const Elman one = *this;
    return std::unique_ptr<Forward>(new Forward{
        {size, size, [=](int64_t i, int64_t j) { return one.W[j * one.size + i]; }},
        {inputs, size, [=](int64_t i, int64_t j) { return one.V[j * one.inputs + i]; }},
        {classes ? size : 0, classes,
         [=](int64_t i, int64_t j) { return one.K[i * one.classes + j]; }}});
  }

  // [W; K^T], the rows of K^T after those of W and their padding: rows of gradients by z and by the
  // y of the step before, times this, are the gradients by the state of that step.
  std::unique_ptr<Panels<R>> backward_matrix() const {
    const Elman one = *this;
    const int64_t width = stride();
    const auto element = [=](int64_t i, int64_t j) {
      if (i < one.size) return one.W[i * one.size + j];
      return i < width ? R(0) : one.K[j * one.classes + i - width];
    };
    return std::unique_ptr<Panels<R>>(
        new Panels<R>(classes ? width + classes : size, size, element));
  }

  // Rows [first, end) of the batch; z null where x is given, k and y where nothing is read. Step 0
  // of the states is given.
  void forward(const Forward& matrices, int64_t first, int64_t end, const R* z, const R* k,
               R* states, R* y) const {
    const int64_t rows = end - first, step = batch * size, width = stride();
    const int64_t staged = whole() ? 0 : rows * width, wide = padded<R>(classes);
    Buffer<R> here(staged), next(staged), padded_bias(width), parameters(width);
    Buffer<R> read(rows * wide), read_bias(wide);
    spread<R>(1, size, width, parameter, parameters.get());
    if (bias) spread<R>(1, size, width, bias, padded_bias.get());
    if (classes) spread<R>(1, classes, wide, k, read_bias.get());
    states += first * size;
    R *h = whole() ? states : here.get(), *n = next.get();
    if (!whole()) spread<R>(rows, size, width, states, h);
    for (int64_t t = 0; t < steps; ++t) {
      R* const outside = states + (t + 1) * step;
      if (whole()) n = outside;
      const R* init = n;
      if (x) {
        matrices.input.multiply(rows, x + (t * batch + first) * inputs, inputs, padded_bias.get(),
                                0, n, width);
      } else if (whole()) {
        init = z + t * step + first * size;
      } else {
        spread<R>(rows, size, width, z + t * step + first * size, n);
      }
      matrices.recurrent.multiply(rows, h, width, init, width, n, width);
      for (int64_t r = 0; r < rows; ++r) apply<R>(phi, width, parameters.get(), n + r * width);
      if (classes) {
        matrices.readout.multiply(rows, n, width, read_bias.get(), 0, read.get(), wide);
        gather<R>(rows, classes, wide, read.get(), y + (t * batch + first) * classes);
      }
      if (!whole()) gather<R>(rows, size, width, n, outside);
      std::swap(h, n);
    }
  }
};

// What the backward pass reads and writes besides; null where there is none, or it is not wanted.
template <class R> struct Gradients {
  const R* states;  // (P, T + 1, B, H)
  // the loss's gradients by the states, (P, T, B, H), by the last of them, (P, B, H), and by y
  const R *given, *last, *by_y;
  R *by_W, *by_V, *by_bias, *by_parameter, *by_z, *by_initial;  // by_z (P, T, B, H)
  R *by_K, *by_k;
  bool weighted() const { return by_W || by_V || by_bias || by_K; }
};

// What one chunk adds to the gradients that are summed over rows.
template <class R> struct Share {
  explicit Share(const Elman<R>& slot)
      : weights(slot.size + slot.inputs + (slot.bias || slot.K),
                slot.stride() + padded<R>(slot.classes)),
        parameter(slot.size) {}
  WeightSums<R> weights;
  Buffer<R> parameter;
};

// Chunks [from, to) of one slot, whose arrays `all` holds.
//
// A row of the ring is [gradient by z_t, gradient by y_{t-1}], both padded: what multiplies the
// state h_{t-1} in the sums of weights, and what the gradient by that state is made from. With a
// readout the first one is that of step T + 1, which is not there: its gradient by z is 0.
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
        stride_(width_ + padded<R>(slot.classes)),
        step_(slot.batch * slot.size),
        block_(block_of(slot.steps + 1, chunks)),
        ring_(block_ * rows_ * stride_),
        staged_(slot.whole() ? 0 : rows_ * width_),
        nothing_(width_),
        output_(width_),
        parameters_(width_) {
    spread<R>(1, slot.size, width_, slot.parameter, parameters_.get());
  }

  void run(const Panels<R>& straight) {
    const R* later = slot_.classes ? begin(slot_.steps + 1) : nullptr;
    for (int64_t t = slot_.steps; t > 0; --t) {
      R* const g = begin(t);
      from_outside(t);
      if (later)
        straight.multiply(rows_, later, stride_, outside_, apart_, g, stride_);
      else
        for (int64_t r = 0; r < rows_; ++r)
          std::memcpy(static_cast<void*>(g + r * stride_), outside_ + r * apart_,
                      width_ * sizeof(R));
      through_phi(all_.states + t * step_ + first_ * slot_.size, g);
      if (all_.by_z)
        gather<R>(rows_, slot_.size, stride_, g, all_.by_z + (t - 1) * step_ + first_ * slot_.size);
      later = g;
    }
    add_block(1);
    if (!all_.by_initial) return;
    Buffer<R> result(rows_ * width_);
    straight.multiply(rows_, later, stride_, nothing_.get(), 0, result.get(), width_);
    gather<R>(rows_, slot_.size, width_, result.get(), all_.by_initial + first_ * slot_.size);
  }

 private:
  // The ring's rows for step t, with the gradients by y_{t-1}; those for z are to follow.
  R* begin(int64_t t) {
    if (filled_ == block_) add_block(t + 1);
    R* const rows = ring_.get() + filled_++ * rows_ * stride_;
    const int64_t classes = slot_.classes;
    for (int64_t r = 0; classes && r < rows_; ++r) {
      R* const to = rows + r * stride_ + width_;
      if (t > 1)
        std::memcpy(static_cast<void*>(to),
                    all_.by_y + ((t - 2) * slot_.batch + first_ + r) * classes,
                    classes * sizeof(R));
      else
        std::memset(static_cast<void*>(to), 0, classes * sizeof(R));
    }
    return rows;
  }

  // Points to the loss's own gradients by the states of step t.
  void from_outside(int64_t t) {
    const R* const whole = all_.given                       ? all_.given + (t - 1) * step_
                           : all_.last && t == slot_.steps ? all_.last
                                                           : nullptr;
    apart_ = whole ? width_ : 0;
    outside_ = whole ? whole + first_ * slot_.size : nothing_.get();
    if (!whole || slot_.whole()) return;
    spread<R>(rows_, slot_.size, width_, outside_, staged_.get());
    outside_ = staged_.get();
  }

  // g becomes the gradient by z of the rows of h.
  void through_phi(const R* h, R* g) {
    for (int64_t r = 0; r < rows_; ++r) {
      const R* out = h + r * slot_.size;
      if (!slot_.whole()) {
        std::memcpy(static_cast<void*>(output_.get()), out, slot_.size * sizeof(R));
        out = output_.get();
      }
      pull_back<R>(slot_.phi, width_, parameters_.get(), out, g + r * stride_);
    }
    if (!all_.by_parameter) return;
    for (int64_t c = from_; c < to_; ++c)
      for (int64_t r = chunks_.first(c) - first_; r < chunks_.first(c + 1) - first_; ++r)
        add_signed<R>(slot_.size, h + r * slot_.size, g + r * stride_, shares_[c]->parameter.get());
  }

  // Adds what the ring holds, whose last rows are those of step `last`, and empties it.
  void add_block(int64_t last) {
    const int64_t count = filled_;
    filled_ = 0;
    if (!all_.weighted()) return;
    for (int64_t c = from_; c < to_; ++c) {
      const int64_t begin = chunks_.first(c), rows = chunks_.first(c + 1) - begin;
      WeightSums<R>& sums = shares_[c]->weights;
      sums.begin(count * rows);
      for (int64_t place = 0; place < count; ++place) {
        const int64_t before = last + count - place - 2;
        const bool driven = slot_.x && before < slot_.steps;
        sums.add(rows, ring_.get() + (place * rows_ + begin - first_) * stride_, stride_,
                 all_.states + before * step_ + begin * slot_.size, slot_.size,
                 driven ? slot_.x + (before * slot_.batch + begin) * slot_.inputs : nullptr,
                 slot_.inputs);
      }
      sums.end();
    }
  }

  const Elman<R>& slot_;
  const Gradients<R> all_;
  const Chunks& chunks_;
  const int64_t from_, to_;
  std::unique_ptr<Share<R>>* const shares_;
  const int64_t first_, rows_, width_, stride_, step_, block_;
  Buffer<R> ring_, staged_, nothing_, output_, parameters_;
  const R* outside_ = nullptr;
  int64_t apart_ = 0, filled_ = 0;
};

// Adds up the chunks' shares into one slot's gradients.
template <class R>
void add_shares(const Elman<R>& slot, const Gradients<R>& all, int64_t count,
                const std::unique_ptr<Share<R>>* shares) {
  WeightSums<R>& total = shares[0]->weights;
  for (int64_t c = 1; c < count; ++c) total.add(shares[c]->weights);
  const auto sum = [&](int64_t row, int64_t column) { return total.at(row, column); };
  const int64_t size = slot.size, inputs = slot.inputs;
  for (int64_t i = 0; i < size; ++i) {
    if (all.by_W)
      for (int64_t j = 0; j < size; ++j) all.by_W[i * size + j] = sum(i, j);
    if (all.by_V)
      for (int64_t j = 0; j < inputs; ++j) all.by_V[i * inputs + j] = sum(i, size + j);
    if (all.by_bias) all.by_bias[i] = sum(i, size + inputs);
    if (all.by_K)
      for (int64_t o = 0; o < slot.classes; ++o)
        all.by_K[i * slot.classes + o] = sum(slot.stride() + o, i);
    if (!all.by_parameter) continue;
    all.by_parameter[i] = shares[0]->parameter.get()[i];
    for (int64_t c = 1; c < count; ++c) all.by_parameter[i] += shares[c]->parameter.get()[i];
  }
  if (all.by_k)
    for (int64_t o = 0; o < slot.classes; ++o)
      all.by_k[o] = sum(slot.stride() + o, size + inputs);
}

template <class T> T* slot_of(int64_t slot, int64_t size, T* array) {
  return array ? array + slot * size : nullptr;
}

template <class R> class Pack {
 public:
  Pack(int64_t slots, int64_t threads, const Elman<R>& first)
      : slots_(slots), threads_(threads), all_(first), chunks_(first.batch) {}

  void forward(const R* z, const R* k, R* states, R* y) const {
    const int64_t step = all_.batch * all_.size, read = all_.batch * all_.classes;
    std::vector<std::unique_ptr<typename Elman<R>::Forward>> matrices(slots_);
    each(slots_, threads_, [&](int64_t p) { matrices[p] = slot(p).forward_matrices(); });
    each_part(slots_, chunks_, threads_, [&](int64_t p, int64_t from, int64_t to) {
      slot(p).forward(*matrices[p], chunks_.first(from), chunks_.first(to),
                      slot_of(p, all_.steps * step, z), slot_of(p, all_.classes, k),
                      states + p * (all_.steps + 1) * step, slot_of(p, all_.steps * read, y));
    });
  }

  void backward(const Gradients<R>& all) const {
    const int64_t count = chunks_.count;
    std::vector<std::unique_ptr<Panels<R>>> straight(slots_);
    std::vector<std::unique_ptr<Share<R>>> shares(slots_ * count);
    each(slots_, threads_, [&](int64_t p) {
      straight[p] = slot(p).backward_matrix();
      for (int64_t c = 0; c < count; ++c) shares[p * count + c].reset(new Share<R>(slot(p)));
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
    one.K = slot_of(p, all_.size * all_.classes, all_.K);
    return one;
  }

  Gradients<R> of(int64_t p, const Gradients<R>& all) const {
    const int64_t size = all_.size, step = all_.batch * size;
    return {all.states + p * (all_.steps + 1) * step,
            slot_of(p, all_.steps * step, all.given),
            slot_of(p, step, all.last),
            slot_of(p, all_.steps * all_.batch * all_.classes, all.by_y),
            slot_of(p, size * size, all.by_W),
            slot_of(p, size * all_.inputs, all.by_V),
            slot_of(p, size, all.by_bias),
            slot_of(p, size, all.by_parameter),
            slot_of(p, all_.steps * step, all.by_z),
            slot_of(p, step, all.by_initial),
            slot_of(p, size * all_.classes, all.by_K),
            slot_of(p, all_.classes, all.by_k)};
  }

  const int64_t slots_, threads_;
  const Elman<R> all_;
  const Chunks chunks_;
};

}  // namespace

#define LONGHAUL_ELMAN(R, suffix)                                                                 \
  extern "C" void elman_forward_##suffix(                                                         \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t inputs, \
      int64_t classes, int64_t phi, const R* parameter, const R* W, const R* x, const R* V,       \
      const R* bias, const R* K, const R* k, const R* z, R* states, R* y) {                       \
    Pack<R>(slots, threads,                                                                       \
            {steps, batch, size, inputs, classes, phi, parameter, W, x, V, bias, K})              \
        .forward(z, k, states, y);                                                                \
  }                                                                                               \
  extern "C" void elman_backward_##suffix(                                                        \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t inputs, \
      int64_t classes, int64_t phi, const R* parameter, const R* W, const R* x, const R* V,       \
      const R* bias, const R* K, const R* states, const R* given, const R* last, const R* by_y,   \
      R* by_W, R* by_V, R* by_bias, R* by_parameter, R* by_z, R* by_initial, R* by_K, R* by_k) {  \
    Pack<R>(slots, threads,                                                                       \
            {steps, batch, size, inputs, classes, phi, parameter, W, x, V, bias, K})              \
        .backward({states, given, last, by_y, by_W, by_V, by_bias, by_parameter, by_z,            \
                   by_initial, by_K, by_k});                                                      \
  }

LONGHAUL_ELMAN(float, float32)
LONGHAUL_ELMAN(double, float64)
