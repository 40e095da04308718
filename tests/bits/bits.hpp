// What the calls of this program share: inputs that are the same on every machine and in every
// tree, ways to call, and a line with the hash of the bits of all that a call returned.
#pragma once

#include <softlook/softlook.hpp>

#include <Eigen/Core>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "softlook/exec/thread_pool.hpp"

namespace bits {

using softlook::heads;
using softlook::index;
using softlook::options;

template <class T>
using rows_of = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using columns_of = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T>
using row_vector = Eigen::Matrix<T, 1, Eigen::Dynamic>;
template <class T>
using column_vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

template <class T>
constexpr const char* scalar_name = std::is_same_v<T, float> ? "float/" : "double/";

/// Whether all policies are compiled for T. They are the same templates for both types, so that
/// some are enough for double.
template <class T>
constexpr bool everything = std::is_same_v<T, float>;

/// FNV-1a, 64 bits, of everything that a call returned. Matrices count by rows, whatever their
/// storage order. All NaN count alike: which one an operation makes of two is the compiler's
/// choice.
class digest {
 public:
  [[nodiscard]] std::uint64_t value() const { return state_; }

  template <class X>
  void add(const X& x) {
    if constexpr (std::is_base_of_v<Eigen::DenseBase<X>, X>) {
      add(x.rows());
      add(x.cols());
      for (index i = 0; i < x.rows(); ++i)
        for (index j = 0; j < x.cols(); ++j) add(x.coeff(i, j));
    } else if constexpr (std::is_same_v<X, float>) {
      add_bytes(std::bit_cast<std::uint32_t>(std::isnan(x) ? nan_of<X> : x), 4);
    } else if constexpr (std::is_same_v<X, double>) {
      add_bytes(std::bit_cast<std::uint64_t>(std::isnan(x) ? nan_of<X> : x), 8);
    } else if constexpr (std::is_integral_v<X> || std::is_enum_v<X>) {
      add_bytes(static_cast<std::uint64_t>(x), 8);
    } else if constexpr (requires { x.begin() != x.end(); }) {
      add(x.size());
      for (const auto& one : x) add(one);
    } else {
      add_members(x);
    }
  }

 private:
  template <class X>
  static constexpr X nan_of = std::numeric_limits<X>::quiet_NaN();

  void add_bytes(std::uint64_t x, int count) {
    for (int k = 0; k < count; ++k) state_ = (state_ ^ (x >> (8 * k) & 255)) * 0x100000001B3;
  }

  /// The results of softlook are structs of these.
  template <class X>
  void add_members(const X& x) {
    int found = 0;
#define SOFTLOOK_BITS_MEMBER(name)      \
  if constexpr (requires { x.name; }) { \
    add(x.name);                        \
    ++found;                            \
  }
    SOFTLOOK_BITS_MEMBER(output)
    SOFTLOOK_BITS_MEMBER(weights)
    SOFTLOOK_BITS_MEMBER(log_sum_exp)
    SOFTLOOK_BITS_MEMBER(choice)
    SOFTLOOK_BITS_MEMBER(log_probability)
    SOFTLOOK_BITS_MEMBER(position)
    SOFTLOOK_BITS_MEMBER(context)
    SOFTLOOK_BITS_MEMBER(logits)
    SOFTLOOK_BITS_MEMBER(alpha)
    SOFTLOOK_BITS_MEMBER(beta)
    SOFTLOOK_BITS_MEMBER(hidden)
    SOFTLOOK_BITS_MEMBER(cell)
    SOFTLOOK_BITS_MEMBER(target)
    SOFTLOOK_BITS_MEMBER(memory)
    SOFTLOOK_BITS_MEMBER(tokens)
    SOFTLOOK_BITS_MEMBER(score)
    SOFTLOOK_BITS_MEMBER(ended)
    SOFTLOOK_BITS_MEMBER(key)
    SOFTLOOK_BITS_MEMBER(weight)
    SOFTLOOK_BITS_MEMBER(first)
    SOFTLOOK_BITS_MEMBER(second)
#undef SOFTLOOK_BITS_MEMBER
    if (found == 0) throw std::logic_error("a result has no member that is known");
  }

  std::uint64_t state_ = 0xCBF29CE484222325;
};

template <class... Xs>
[[nodiscard]] std::uint64_t hash_of(const Xs&... xs) {
  digest all;
  (all.add(xs), ...);
  return all.value();
}

/// The line of one call. Two lines of one name could hide a difference.
template <class... Xs>
void line(const std::string& name, const Xs&... results) {
  static std::set<std::string> names;
  if (!names.insert(name).second) throw std::logic_error("two calls are named " + name);
  std::printf("%s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash_of(results...)));
}

/// A number in [-2, 2) that depends on its arguments alone: a counter, mixed as in splitmix64.
[[nodiscard]] inline double number(std::uint64_t seed, index i, index j) {
  std::uint64_t x = seed;
  for (const index counter : {i, j}) {
    x += 0x9E3779B97F4A7C15 * (static_cast<std::uint64_t>(counter) + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
  }
  return static_cast<double>(static_cast<std::int64_t>(x >> 11)) * 0x1p-51 - 2;
}

/// A matrix of such numbers times `size`, another for each name.
template <class Matrix>
[[nodiscard]] Matrix filled(std::string_view name, index rows, index cols, double size = 1) {
  const std::uint64_t seed = hash_of(name);
  Matrix X(rows, cols);
  for (index i = 0; i < rows; ++i)
    for (index j = 0; j < cols; ++j)
      X(i, j) = static_cast<typename Matrix::Scalar>(size * number(seed, i, j));
  return X;
}
/// The same where a row or a column is enough.
template <class Vector>
[[nodiscard]] Vector filled_vector(std::string_view name, index size, double scale = 1) {
  if constexpr (int(Vector::RowsAtCompileTime) == 1)
    return filled<Vector>(name, 1, size, scale);
  else
    return filled<Vector>(name, size, 1, scale);
}
/// Parameters whose products have the size of the inputs.
template <class Matrix>
[[nodiscard]] Matrix parameter(std::string_view name, index rows, index cols) {
  return filled<Matrix>(name, rows, cols, 0.75 / std::sqrt(double(rows)));
}

/// One type for all executors, so that every call is compiled once.
class any_executor {
 public:
  any_executor() = default;
  explicit any_executor(const softlook::exec::thread_pool& pool) : pool_(&pool) {}

  [[nodiscard]] index concurrency() const { return pool_ ? pool_->concurrency() : 1; }
  template <class F>
  void bulk(index count, const F& f) const {
    if (pool_)
      pool_->bulk(count, f);
    else
      softlook::exec::sequential{}.bulk(count, f);
  }

 private:
  const softlook::exec::thread_pool* pool_ = nullptr;
};

[[nodiscard]] inline const softlook::exec::thread_pool& pool_of(index threads) {
  static const softlook::exec::thread_pool two(2), three(3);
  return threads == 2 ? two : three;
}

/// Where the numbers of a matrix lie: row after row, column after column, as columns of a wider
/// matrix, or with gaps in both directions.
enum class storage { rows, columns, block, strided };

/// A matrix in any storage behind one type, for the same reason as any_executor.
template <class T>
class held {
 public:
  using stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;

  held(index rows, index cols, storage how) : rows_(rows), cols_(cols) {
    switch (how) {
      case storage::rows:
        row_ = cols;
        break;
      case storage::columns:
        row_ = 1;
        col_ = rows;
        break;
      case storage::block:
        row_ = cols + 7;
        first_ = 3;
        break;
      case storage::strided:
        row_ = 2 * cols + 5;
        col_ = 2;
        break;
    }
    const index size = first_ + rows * row_ + cols * col_;
    memory_.assign(static_cast<std::size_t>(size), std::numeric_limits<T>::quiet_NaN());
  }
  held(const rows_of<T>& X, storage how) : held(X.rows(), X.cols(), how) { out() = X; }

  [[nodiscard]] Eigen::Map<const rows_of<T>, 0, stride> operator()() const {
    return {memory_.data() + first_, rows_, cols_, stride(row_, col_)};
  }
  [[nodiscard]] Eigen::Map<rows_of<T>, 0, stride> out() {
    return {memory_.data() + first_, rows_, cols_, stride(row_, col_)};
  }

 private:
  std::vector<T> memory_;
  index rows_, cols_, row_ = 0, col_ = 1, first_ = 0;
};

/// How a call is made.
struct way {
  std::string name;
  options opts;
  any_executor exec;
  storage stored = storage::rows;
};

[[nodiscard]] inline way make_way(const options& opts, std::string name, std::uint64_t turn) {
  static constexpr std::array storages{"rows", "columns", "block", "strided"};
  static softlook::workspace kept;
  way w{std::move(name), opts, {}, storage(turn % 4)};
  const index threads = 1 + index(turn % 3);
  if (threads > 1) w.exec = any_executor(pool_of(threads));
  w.name += threads == 1 ? "/sequential/" : threads == 2 ? "/pool2/" : "/pool3/";
  w.name += storages[turn % 4];
  if (turn / 4 % 2 == 1) w.opts.workspace = &kept;
  return w;
}

/// Every instruction set; executors, storages and kept workspaces take turns, which begin
/// elsewhere for each name.
[[nodiscard]] inline std::vector<way> set_ways(std::string_view of, options base = {}) {
  std::uint64_t turn = hash_of(of) % 24;
  std::vector<way> ways;
  for (const auto isa : softlook::available_instruction_sets()) {
    base.isa = isa;
    ways.push_back(make_way(base, std::string("/") + softlook::name_of(isa), turn++));
  }
  return ways;
}

/// The same with every kernel, and with the smallest tiles; the naive one has no instruction set of
/// its own.
[[nodiscard]] inline std::vector<way> every_way(std::string_view of, options base = {}) {
  using softlook::kernel;
  std::uint64_t turn = hash_of(of) % 24;
  std::vector<way> ways;
  for (const auto isa : softlook::available_instruction_sets()) {
    options o = base;
    o.isa = isa;
    const std::string set = std::string("/") + softlook::name_of(isa);
    ways.push_back(make_way(o, set + "/chosen", turn++));
    o.kernel = kernel::few_queries;
    ways.push_back(make_way(o, set + "/few_queries", turn++));
    o.kernel = kernel::tiled;
    ways.push_back(make_way(o, set + "/tiled", turn++));
    o.tile = softlook::tile_shape{.keys = 1, .query_tiles = 1};
    ways.push_back(make_way(o, set + "/smallest_tiles", turn++));
  }
  base.kernel = kernel::naive;
  ways.push_back(make_way(base, "/naive", turn));
  return ways;
}

/// Queries, keys and values.
template <class T>
struct tokens {
  std::string name;
  rows_of<T> Q, K, V;
  [[nodiscard]] index n() const { return Q.rows(); }
  [[nodiscard]] index m() const { return K.rows(); }
};

struct shape {
  index n, m, d, e;
};

/// For heads, d and e are sizes of one head.
template <class T>
[[nodiscard]] tokens<T> tokens_of(const shape& s, const heads& h = {}) {
  const index kv = h.kv.value_or(h.query);
  std::string name = std::to_string(s.n) + "x" + std::to_string(s.m) + "x" + std::to_string(s.d) +
                     "x" + std::to_string(s.e);
  if (h.query > 1) name += "_heads" + std::to_string(h.query) + "_" + std::to_string(kv);
  return {name, filled<rows_of<T>>("Q", s.n, h.query * s.d), filled<rows_of<T>>("K", s.m, kv * s.d),
          filled<rows_of<T>>("V", s.m, kv * s.e)};
}

/// Some values are not finite. They leave most columns of a result finite, under any mask.
template <class T>
[[nodiscard]] tokens<T> poisoned(tokens<T> x) {
  const T infinity = std::numeric_limits<T>::infinity();
  const index m = x.m();
  x.name += "_poisoned";
  x.V(m * 2 / 3, 0) = std::numeric_limits<T>::quiet_NaN();
  x.V(m * 5 / 6, 1) = infinity;
  x.V(m - 1, 2) = -infinity;
  return x;
}

/// Keys and values from `first` on are NaN: where they are masked they have no influence.
template <class T>
[[nodiscard]] tokens<T> lost_from(index first, tokens<T> x) {
  x.name += "_lost";
  x.K.bottomRows(x.m() - first).setConstant(std::numeric_limits<T>::quiet_NaN());
  x.V.bottomRows(x.m() - first).setConstant(std::numeric_limits<T>::quiet_NaN());
  return x;
}

template <class T>
void attention_calls();
template <class T>
void head_calls();
template <class T>
void variant_calls();
template <class T>
void linear_calls();
template <class T>
void layer_calls();
void picture_calls();

}  // namespace bits
