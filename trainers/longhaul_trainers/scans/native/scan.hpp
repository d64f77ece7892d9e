// What the compiled scans share: padded memory, small matrix products, elementary functions, threads.
//
// One thread runs one slot, or a share of its batch, from the first step to the last, so that the
// states stay in one core's cache. A slot's bits depend on nothing but itself. All arithmetic is on
// rows padded with zeros to whole vectors, so that there are no tails. Arrays from outside are
// row-major, contiguous and not padded.

#pragma once

#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

// c = init + a times a matrix (depth, width) in panels of kTileVectors vectors of columns; width is
// whole vectors. The rows of a, init and c are `from`, `begin` and `to` apart, the columns of a
// `along`. One element's sum starts at init and takes the depth in order, so a row's bits depend
// neither on the other rows nor on how many there are. In tiles.cpp, to be compiled once.
void multiply_panels(int64_t batch, int64_t depth, int64_t width, const float* panel, const float* a,
                     int64_t from, int64_t along, const float* init, int64_t begin, float* c,
                     int64_t to);
void multiply_panels(int64_t batch, int64_t depth, int64_t width, const double* panel,
                     const double* a, int64_t from, int64_t along, const double* init,
                     int64_t begin, double* c, int64_t to);

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kTileRows = 6, kTileVectors = 4;
#elif defined(__AVX2__)
constexpr int kBytes = 32, kTileRows = 6, kTileVectors = 2;
#else
constexpr int kBytes = 16, kTileRows = 4, kTileVectors = 2;
#endif

template <class R> struct Vector;
// Arrays from outside begin anywhere, hence the alignment; where it is a vector's, it costs nothing.
template <> struct Vector<float> {
  typedef float Type __attribute__((vector_size(kBytes), aligned(4), may_alias));
};
template <> struct Vector<double> {
  typedef double Type __attribute__((vector_size(kBytes), aligned(8), may_alias));
};

// Zeroed memory for whole vectors.
template <class R> class Buffer {
 public:
  explicit Buffer(int64_t size) {
    const size_t bytes = (size * sizeof(R) + kBytes - 1) / kBytes * kBytes;
    data_ = static_cast<R*>(std::aligned_alloc(kBytes, std::max<size_t>(bytes, kBytes)));
    std::memset(static_cast<void*>(data_), 0, bytes);
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  R* get() { return data_; }
  const R* get() const { return data_; }

 private:
  R* data_;
};

template <class R> constexpr int lanes() { return kBytes / static_cast<int>(sizeof(R)); }

template <class R> int64_t padded(int64_t size) {
  return (size + lanes<R>() - 1) / lanes<R>() * lanes<R>();
}

// A matrix (depth, width) cut into panels of kTileVectors vectors of columns.
template <class R> class Panels {
 public:
  // element(k, j) is row k, column j; it is asked for inside the matrix only.
  template <class Element>
  Panels(int64_t depth, int64_t width, Element element)
      : depth_(depth), width_(padded<R>(width)), data_(depth * padded<R>(width)) {
    R* to = data_.get();
    for (int64_t j = 0; j < width_; j += kTileVectors * lanes<R>()) {
      const int64_t columns = std::min<int64_t>(kTileVectors * lanes<R>(), width_ - j);
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t i = j; i < j + columns; ++i) *to++ = i < width ? element(k, i) : R(0);
    }
  }

  // c += a times the matrix; the rows of a and c are `from` and `to` apart.
  void multiply_add(int64_t batch, const R* a, int64_t from, R* c, int64_t to) const {
    multiply(batch, a, from, c, to, c, to);
  }

  // c = init + a times the matrix; the rows of a, init and c are `from`, `begin` and `to` apart.
  void multiply(int64_t batch, const R* a, int64_t from, const R* init, int64_t begin, R* c,
                int64_t to) const {
    multiply_panels(batch, depth_, width_, data_.get(), a, from, 1, init, begin, c, to);
  }

 private:
  int64_t depth_, width_;
  Buffer<R> data_;
};

// exp(y) in float for -87 < y < 87, within 2 roundings: 2^n exp(r), |r| <= ln 2 / 2.
inline float exp_of(float y) {
  const float n = std::floor(y * 1.44269504089f + 0.5f);
  const float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
  float e = 1.0f / 5040;
  e = e * r + 1.0f / 720;
  e = e * r + 1.0f / 120;
  e = e * r + 1.0f / 24;
  e = e * r + 1.0f / 6;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return e * power;
}

// tanh in float within 3 roundings: x times a quotient of polynomials in x^2 whose greatest relative
// error up to 9.02, beyond which tanh rounds to 1, is 2e-8 and least possible.
inline float tanh_of(float x) {
  const float from_below = x < -9.02f ? -9.02f : x, a = from_below > 9.02f ? 9.02f : from_below;
  const float s = a * a;
  const float above =
      1 + s * (1.3379696011543274e-1f +
               s * (3.4940089099109173e-3f +
                    s * (2.0583060177159496e-5f + s * 1.3318500968750868e-8f)));
  const float below =
      1 + s * (4.671301245689392e-1f +
               s * (2.5870975106954575e-2f +
                    s * (3.2830509007908404e-4f + s * 7.761782399029471e-7f)));
  const float result = a * above / below;
  const float at_most = result > 1 ? 1 : result;
  return at_most < -1 ? -1 : at_most;
}

// 1 / (1 + exp(-x)) in float, within 3 roundings.
inline float sigmoid_of(float x) {
  const float result = 1.0f / (1.0f + exp_of(std::min(std::max(-x, -86.0f), 86.0f)));
  return x != x ? x : result;
}

inline double tanh_of(double x) { return std::tanh(x); }
inline double sigmoid_of(double x) { return 1.0 / (1.0 + std::exp(-x)); }

template <class R> void spread(int64_t batch, int64_t size, int64_t stride, const R* from, R* to) {
  for (int64_t b = 0; b < batch; ++b)
    std::memcpy(static_cast<void*>(to + b * stride), from + b * size, size * sizeof(R));
}

template <class R> void gather(int64_t batch, int64_t size, int64_t stride, const R* from, R* to) {
  for (int64_t b = 0; b < batch; ++b)
    std::memcpy(static_cast<void*>(to + b * size), from + b * stride, size * sizeof(R));
}

// While it lives, numbers too small for the normal form count as 0 in this thread.
//
// A gradient that vanishes over many steps becomes such numbers, and each operation with one takes
// tens of times as long. Nothing that is learnt from depends on them: the least normal float is
// 1e-38. Elsewhere than on x86 they stay as they are.
class NoSubnormals {
 public:
#if defined(__SSE__)
  NoSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushed); }
  ~NoSubnormals() { _mm_setcsr(before_); }
#else
  NoSubnormals() {}
#endif
  NoSubnormals(const NoSubnormals&) = delete;
  NoSubnormals& operator=(const NoSubnormals&) = delete;

 private:
#if defined(__SSE__)
  static constexpr unsigned kFlushed = 0x8040;  // results, and operands
  unsigned before_;
#endif
};

// Threads that wait for work between the calls: to start new ones takes as long as a small scan.
class Pool {
 public:
  // Runs work(item) for every item, the caller among at most so many threads.
  template <class Work> void run(int64_t items, int64_t threads, Work& work) {
    std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
    if (!mine.owns_lock()) {  // another thread of this program is in a scan
      for (int64_t item = 0; item < items; ++item) work(item);
      return;
    }
    const int64_t helpers = std::min(threads, items) - 1;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int64_t>(workers_.size()) < helpers)
        workers_.emplace_back([this] { serve(); });
      work_ = [&work](int64_t item) { work(item); };
      next_ = 0;
      items_ = items;
      wanted_ = helpers;
    }
    wake_.notify_all();
    take(work_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      wanted_ = 0;
    }
    linger([this] { return running_ == 0; });
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
  }

  // The pool of this process. A forked child has none of its parent's threads, and gets a new one.
  static Pool& here() {
    static std::mutex making;
    static Pool* pool = nullptr;
    static pid_t owner = 0;
    std::lock_guard<std::mutex> lock(making);
    if (owner != getpid()) {
      owner = getpid();
      pool = new Pool;  // never deleted: its threads wait until the process ends
    }
    return *pool;
  }

 private:
  void take(const std::function<void(int64_t)>& work) {
    for (int64_t item; (item = next_++) < items_;) work(item);
  }

  // Waits for a moment without sleeping: to be woken takes as long as a tenth of a small scan, and
  // the next call, or its end, is mostly near. Whoever else wants the core gets it.
  template <class Ready> static void linger(Ready ready) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(1000);
    while (!ready() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  }

  void serve() {
    const NoSubnormals here;
    for (;;) {
      linger([this] { return wanted_ > 0; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return wanted_ > 0; });
      --wanted_;
      ++running_;
      lock.unlock();
      take(work_);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex busy_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  std::function<void(int64_t)> work_;
  std::atomic<int64_t> next_{0}, wanted_{0}, running_{0};
  int64_t items_ = 0;
};

// Runs work(item) for every item on so many threads, in any order.
template <class Work> void each(int64_t items, int64_t threads, Work work) {
  const NoSubnormals here;
  if (threads <= 1 || items <= 1) {
    for (int64_t item = 0; item < items; ++item) work(item);
    return;
  }
  Pool::here().run(items, threads, work);
}

// A batch's rows in chunks of nearly equal size, for scans in which each row goes its own way.
//
// How many there are depends on the batch alone. What is summed over rows is summed in each chunk,
// then over the chunks in order, so that the bits do not depend on which thread had which.
struct Chunks {
  int64_t batch, count;
  explicit Chunks(int64_t batch)
      : batch(batch), count(std::max<int64_t>(1, std::min<int64_t>(4, batch / 10))) {}
  int64_t first(int64_t chunk) const { return chunk * batch / count; }
};

// Runs work(slot, first chunk, end) until all chunks of all slots are done. A thread has the whole
// of a slot where there are enough of them, as fewer rows at once are slower.
template <class Work>
void each_part(int64_t slots, const Chunks& chunks, int64_t threads, Work work) {
  const int64_t parts = slots >= threads ? 1 : std::min(chunks.count, threads);
  each(slots * parts, threads, [=](int64_t item) {
    const int64_t part = item % parts;
    work(item / parts, part * chunks.count / parts, (part + 1) * chunks.count / parts);
  });
}

}  // namespace
