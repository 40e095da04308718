// The input is a program: one call of attention with sizes, storage, policies and numbers, or a
// sequence of operations on a kv_cache and its forks. A call that the documentation allows agrees
// with loops in double and gives the same bits again with other workers; any other throws
// shape_error or argument_error and leaves the output as it was. What was allowed is gone back
// through.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/fuzz/attention_kernels.hpp"
#include "tests/support/executors.hpp"

namespace {

using softlook::index;
using softlook::problem;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The call that runs, to be told with a finding.
char running[512] = "no call";

void require(bool truth, const char* what) {
  if (truth) return;
  std::fprintf(stderr, "attention_fuzz: %s (%s)\n", what, running);
  std::abort();
}

/// What f throws, of the two errors that misuse may throw; others are findings.
template <class F>
bool refused(const F& f) {
  try {
    f();
  } catch (const softlook::shape_error&) {
    return true;
  } catch (const softlook::argument_error&) {
    return true;
  }
  return false;
}

/// The bytes of the input, then zeros.
class reader {
 public:
  reader(const std::uint8_t* data, std::size_t size) : data_(data), end_(data + size) {}
  bool done() const { return data_ == end_; }
  unsigned byte() { return done() ? 0U : *data_++; }
  unsigned word() {
    const unsigned high = byte();
    return 256 * high + byte();
  }
  /// One of first … last, as long as the byte lasts.
  index between(index first, index last) { return first + index(byte()) % (last - first + 1); }
  /// True for one byte of so many.
  bool one_in(unsigned count) { return byte() % count == count - 1; }
  /// Rarely a number that no caller means.
  index or_wild(index usual) {
    constexpr index far = std::numeric_limits<index>::max();
    constexpr index wild[] = {-1,       0,   1,    index{1} << 31, (index{1} << 31) - 1,
                              -far - 1, far, -far, index{1} << 32, far / 2,
                              -far / 2};
    const unsigned b = byte();
    return b < 244 ? usual : wild[b % std::size(wild)];
  }
  template <class T, std::size_t N>
  T any_of(const T (&list)[N]) {
    return list[byte() % N];
  }

 private:
  const std::uint8_t* data_;
  const std::uint8_t* end_;
};

/// Numbers in [−1, 1] from a seed.
class numbers {
 public:
  explicit numbers(unsigned seed) : state_(seed * 2654435761ULL + 88172645463325252ULL) {}
  std::uint64_t bits() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  float next() { return float(std::int64_t(bits()) >> 40) * 0x1p-23F; }

 private:
  std::uint64_t state_;
};

// Matrices.

using plain = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using strided = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0,
                           Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

plain numbers_of(reader& in, index rows, index cols) {
  constexpr float sizes[] = {1, 1, 1, 1, 4, 0.01F, 30, 1e4F, 1e-20F, 1e-42F, 1e18F, 3e38F};
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float spots[] = {NAN, inf, -inf, 3e38F, -0.0F, 1e-44F, 1e20F, -1e10F};
  numbers random(in.word());
  const float size = in.any_of(sizes);
  plain X(rows, cols);
  for (index i = 0; i < X.size(); ++i) X.data()[i] = size * random.next();
  for (index count = std::max<index>(in.between(0, 7) - 3, 0); count > 0; --count) {
    const unsigned at = in.word();
    const float spot = in.any_of(spots);
    if (X.size() > 0) X.data()[index(at) % X.size()] = spot;
  }
  return X;
}

/// A matrix in a block of memory of its own, or in that of another, in either order and with gaps.
template <class T>
struct placed {
  std::shared_ptr<std::vector<T>> memory;
  index first = 0, rows = 0, cols = 0, row_stride = 1, col_stride = 1;

  strided<T> map() const {
    return {memory->data() + first, rows, cols,
            Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(row_stride, col_stride)};
  }
  index at(index i, index j) const { return first + i * row_stride + j * col_stride; }
};

template <class T>
placed<T> place(reader& in, const plain& X) {
  placed<T> p;
  p.rows = X.rows();
  p.cols = X.cols();
  const bool by_columns = in.one_in(3);
  const index gap = in.one_in(3) ? in.between(0, 5) : 0;
  const index step = in.one_in(8) ? 2 : 1;
  const index inner = by_columns ? p.rows : p.cols, outer = by_columns ? p.cols : p.rows;
  (by_columns ? p.row_stride : p.col_stride) = step;
  (by_columns ? p.col_stride : p.row_stride) = std::max<index>(inner * step + gap, 1);
  p.first = in.between(0, 3);
  const index length = outer > 0 && inner > 0 ? p.at(p.rows - 1, p.cols - 1) + 1 : p.first;
  p.memory = std::make_shared<std::vector<T>>(std::size_t(length), T(7));
  for (index i = 0; i < p.rows; ++i)
    for (index j = 0; j < p.cols; ++j) (*p.memory)[std::size_t(p.at(i, j))] = T(X(i, j));
  return p;
}

bool same_bits(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

// Policies of a type each, whatever they are.

struct mask_functions {
  std::function<bool(std::int32_t, std::int32_t, problem)> allows;
  std::function<softlook::range(softlook::range, problem)> key_range;
  std::function<softlook::coverage(softlook::range, softlook::range, problem)> coverage_of;
  std::function<void(const char*, problem)> check;
};

struct any_mask {
  using policy_kind = softlook::mask_kind;
  const mask_functions* mask;

  bool allows(std::int32_t i, std::int32_t j, problem p) const { return mask->allows(i, j, p); }
  softlook::range key_range(softlook::range q, problem p) const { return mask->key_range(q, p); }
  softlook::coverage coverage_of(softlook::range q, softlook::range k, problem p) const {
    return mask->coverage_of(q, k, p);
  }
  void check(const char* where, problem p) const { mask->check(where, p); }
};

template <class Mask>
mask_functions functions_of(const Mask& mask) {
  return {
      [=](std::int32_t i, std::int32_t j, problem p) { return mask.allows(i, j, p); },
      [=](softlook::range q, problem p) { return mask.key_range(q, p); },
      [=](softlook::range q, softlook::range k, problem p) { return mask.coverage_of(q, k, p); },
      [=](const char* where, problem p) { softlook::detail::check_policy(mask, where, p); }};
}

/// A predicate of all that it may be told.
struct scattered {
  unsigned seed, of;
  bool operator()(std::int32_t i, std::int32_t j, problem p) const {
    unsigned h = seed + unsigned(i) * 2654435761U + unsigned(j) * 40503U + unsigned(p.head) * 97U +
                 unsigned(p.sequence) * 193U;
    h ^= h >> 15;
    return h * 2246822519U % of != 0;
  }
};

mask_functions mask_of(reader& in, index keys) {
  namespace masks = softlook::masks;
  const auto near = [&] { return in.or_wild(in.between(-10, 60)); };
  const auto side = [&]() -> std::optional<index> {
    return in.one_in(4) ? std::nullopt : std::optional(in.or_wild(in.between(0, 40)));
  };
  const auto window = [&] {
    const auto left = side(), right = side();
    return masks::window{.left = left, .right = right, .offset = near()};
  };
  const auto padding = [&] {
    return masks::padding{in.or_wild(in.byte() * std::min<index>(keys, 255) / 255)};
  };
  const auto where = [&] {
    const unsigned seed = in.byte();
    return masks::where(scattered{seed, unsigned(in.between(1, 4))});
  };
  switch (in.between(0, 11)) {
    case 1:
      return functions_of(masks::causal{near()});
    case 2:
      return functions_of(masks::causal_top_left{});
    case 3:
      return functions_of(masks::causal_bottom_right{});
    case 4:
      return functions_of(window());
    case 5:
      return functions_of(padding());
    case 6:
      return functions_of(where());
    case 7:
      return functions_of(window() | padding());
    case 8:
      return functions_of(masks::causal_bottom_right{} & where());
    case 9:
      return functions_of(!window());
    case 10:
      return functions_of(window() & padding());
    default:
      return functions_of(masks::none{});
  }
}

/// A chain with numbers that a run decides.
struct any_transform {
  using policy_kind = softlook::transform_kind;
  enum { nothing, scaled, capped, biased, sloped } kind = nothing;
  double number = 1;

  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    switch (kind) {
      case scaled:
        return S(number) * s;
      case capped:
        return softlook::transforms::soft_cap{number}(s, i, j, p);
      case biased:
        return s + S((unsigned(i) * 7 + unsigned(j) * 3 + unsigned(p.head + p.sequence)) % 11) *
                       S(0.125);
      case sloped:
        return softlook::transforms::alibi{number}(s, i, j, p);
      default:
        return s;
    }
  }
  template <class S = double>
  void check(const char* where, problem p) const {
    if (kind == capped) softlook::transforms::soft_cap{number}.check<S>(where, p);
    if (kind == sloped) softlook::transforms::alibi{number}.check<S>(where, p);
  }
};

any_transform transform_of(reader& in) {
  any_transform t;
  constexpr double odd[] = {0, -1, 1e39, NAN, infinity, 1e-39, 1e-45};
  t.kind = in.any_of({any_transform::nothing, any_transform::nothing, any_transform::scaled,
                      any_transform::capped, any_transform::biased, any_transform::sloped});
  t.number = double(in.between(1, 32)) / 16;
  if ((t.kind == any_transform::capped || t.kind == any_transform::sloped) && in.one_in(24))
    t.number = in.any_of(odd);
  return t;
}

struct sets {
  softlook::options opts;
  bool valid = true;
};

sets options_of(reader& in) {
  sets s;
  constexpr double odd[] = {NAN, infinity, 1e39, -1e39};
  constexpr double scales[] = {0, 1, -1, 0.25, 1e-20, 1e-3, 8};
  if (in.one_in(3)) {
    const bool bad = in.one_in(24);
    s.opts.scale = bad ? in.any_of(odd) : in.any_of(scales);
    s.valid = !bad;
  }
  const index kernel = in.between(0, 4);
  if (kernel < 3) s.opts.kernel = softlook::kernel(kernel);
  const index isa = in.between(0, 4);
  if (isa < 3) {
    s.opts.isa = softlook::instruction_set(isa);
    s.valid = s.valid && softlook::detail::can_run(*s.opts.isa);
  }
  if (in.one_in(3)) {
    const index keys = in.or_wild(in.between(1, 80)), queries = in.or_wild(in.between(1, 6));
    s.opts.tile = {keys, queries};
    s.valid = s.valid && keys >= 1 && keys <= softlook::detail::max_key_tile && queries >= 1 &&
              queries <= softlook::detail::max_query_tiles;
  }
  return s;
}

// What a call must give.

/// Rows that are one problem: rows [q, q + n) and [k, k + m) of the call.
struct part {
  softlook::range q, k;
  problem size;
  index first_query = 0, first_key = 0;
  const std::int32_t* positions = nullptr;
  std::int32_t query(index i) const {
    return positions ? positions[i] : std::int32_t(first_query + i);
  }
};

struct call {
  plain Q, K, V;  // as the kernels read them
  index heads = 1, kv = 1;
  double scale = 1;
  any_mask mask{};
  any_transform transform;
  std::vector<double> sinks;  // none, or one for each head
  std::vector<part> parts;
};

/// Scores and magnitudes of a row.
struct scored {
  std::vector<double> s;  // −∞: no key
  double size = 0;        // of the products of a score, and of what transforms add
  bool usual = true;      // neither large nor tiny beyond what float holds
};

scored scores_of(const call& c, const part& p, index i, index head) {
  const index d = c.Q.cols() / c.heads, of = head / (c.heads / c.kv);
  problem size = p.size;
  size.head = std::int32_t(head);
  scored r;
  for (index j = 0; j < p.k.count(); ++j) {
    const std::int32_t at = std::int32_t(p.first_key + j);
    double s = 0, products = 0, most = 0;
    r.s.push_back(-infinity);
    if (!c.mask.allows(p.query(i), at, size)) continue;
    for (index x = 0; x < d; ++x) {
      const double q = c.Q(p.q.begin + i, head * d + x), k = c.K(p.k.begin + j, of * d + x);
      s += q * k;
      if (std::isfinite(q)) most = std::max(most, std::abs(q) * std::max(1.0, std::abs(c.scale)));
      if (std::isfinite(k)) most = std::max(most, std::abs(k) * std::max(1.0, std::abs(c.scale)));
      if (std::isfinite(q * k)) products += std::abs(q * k);
      // scale · q may become 0 in float before it meets ∞.
      else if (std::abs(q * c.scale) < 1e-30 && q * c.scale != 0)
        r.usual = false;
    }
    const double raw = c.scale * s;
    const double t = c.transform(raw, p.query(i), at, size);
    r.s.back() = t;
    r.usual = r.usual && most < 1e12;
    products *= std::abs(c.scale);
    if (c.transform.kind == any_transform::scaled) products *= 2;
    if (std::isfinite(raw) && std::isfinite(t))
      products +=
          std::abs(t - raw) + (c.transform.kind == any_transform::capped ? std::abs(raw) * 8 : 0);
    r.size = std::max(r.size, products + (std::isfinite(t) ? std::abs(t) : 0));
  }
  return r;
}

struct row {
  std::vector<double> output;
  double log_sum_exp = -infinity;
  double tolerance = 0;  // of a weight, relatively
  double values = 0;     // largest magnitude
  bool comparable = true;
  std::vector<char> told;  // columns whose NaN and ∞ do not hang on an underflow
};

row row_of(const call& c, const part& p, index i, index head) {
  constexpr double epsilon = std::numeric_limits<float>::epsilon();
  const index e = c.V.cols() / c.kv, of = head / (c.heads / c.kv), d = c.Q.cols() / c.heads;
  const scored from = scores_of(c, p, i, head);
  const double sink = c.sinks.empty() ? -infinity : c.sinks[std::size_t(head)];
  row r;
  r.output.assign(std::size_t(e), 0);
  r.told.assign(std::size_t(e), 1);
  double top = -infinity;
  bool nan = false;
  for (const double s : from.s) {
    nan = nan || std::isnan(s) || s == infinity;
    top = std::max(top, std::isnan(s) ? top : s);
  }
  r.comparable = from.usual && from.size < 1e30;
  const double size = from.size + (sink == -infinity ? 0 : std::abs(sink) + std::abs(top));
  r.tolerance = 2 * epsilon * ((double(d) + 16) * size + double(p.k.count()) + 32) + 1e-6;
  if (nan) {
    r.log_sum_exp = top == infinity ? infinity : NAN;
    std::fill(r.output.begin(), r.output.end(), NAN);
    return r;
  }
  if (top == -infinity) {
    r.log_sum_exp = sink;
    return r;
  }
  const double beside = std::max(top, sink);
  double sum = sink == -infinity ? 0 : std::exp(sink - beside);
  for (const double s : from.s) sum += s == -infinity ? 0 : std::exp(s - beside);
  r.log_sum_exp = beside + std::log(sum);
  for (std::size_t j = 0; j < from.s.size(); ++j) {
    if (from.s[j] == -infinity) continue;
    const double weight = std::exp(from.s[j] - beside) / sum;
    for (index x = 0; x < e; ++x) {
      const double v = c.V(p.k.begin + index(j), of * e + x);
      r.output[std::size_t(x)] += weight * v;
      if (std::isfinite(v))
        r.values = std::max(r.values, std::abs(v));
      else if (weight < 1e-30 || r.tolerance > 1e-2)
        r.told[std::size_t(x)] = 0;
    }
  }
  return r;
}

void compare_number(double is, double must, double tolerance, const char* what) {
  if (std::isnan(must)) return require(std::isnan(is), what);
  if (std::isinf(must)) return require(is == must, what);
  if (!(std::abs(is - must) <= tolerance)) {
    std::fprintf(stderr, "%g instead of %g, tolerance %g\n", is, must, tolerance);
    require(false, what);
  }
}

/// Output and, where it is given, log-sum-exp. Rows of no part are zeros and −∞.
template <class O, class L>
void compare(const call& c, const O& output, const L* log_sum_exp) {
  const index e = c.V.cols() / c.kv;
  std::vector<char> seen(std::size_t(c.Q.rows()), 0);
  for (const part& p : c.parts)
    for (index i = 0; i < p.q.count(); ++i)
      for (index head = 0; head < c.heads; ++head) {
        const index at = p.q.begin + i;
        seen[std::size_t(at)] = 1;
        const row must = row_of(c, p, i, head);
        if (!must.comparable) continue;
        const double far = must.tolerance > 0.1 ? 2.5 : 3 * must.tolerance;
        if (must.values < 1e30)
          for (index x = 0; x < e; ++x)
            if (must.told[std::size_t(x)])
              compare_number(double(output(at, head * e + x)), must.output[std::size_t(x)],
                             must.values * far + 1e-37, "an output number is wrong");
        if (!log_sum_exp) continue;
        const double is = double((*log_sum_exp)(at, head));
        if (must.log_sum_exp == infinity)
          require(std::isnan(is) || is == infinity, "a log-sum-exp is wrong");
        else
          compare_number(is, must.log_sum_exp, must.tolerance * 2, "a log-sum-exp is wrong");
      }
  for (index i = 0; i < c.Q.rows(); ++i)
    for (index x = 0; x < e * c.heads && !seen[std::size_t(i)]; ++x)
      require(output(i, x) == 0, "a row of padding is not zero");
  for (index i = 0; log_sum_exp && i < c.Q.rows(); ++i)
    for (index head = 0; head < c.heads && !seen[std::size_t(i)]; ++head)
      require((*log_sum_exp)(i, head) == -infinity, "a log-sum-exp of padding is not -inf");
}

// Storage.

/// Stored rows of whatever kind.
struct any_rows {
  using stored_rows_tag = void;
  using Scalar = float;
  std::function<softlook::detail::row_source<float>(softlook::instruction_set)> from;
  index rows_ = 0, cols_ = 0;
  plain wide{};      // as the kernels read them
  index scales = 1;  // for each row

  index rows() const { return rows_; }
  index cols() const { return cols_; }
  softlook::detail::row_source<float> source(softlook::instruction_set isa) const {
    return from(isa);
  }
};

template <class Rows, class Kept>
any_rows rows_of(const Rows& rows, std::shared_ptr<Kept> kept, plain wide) {
  return {[rows, kept](softlook::instruction_set isa) { return rows.source(isa); }, rows.rows(),
          rows.cols(), std::move(wide)};
}

/// x̂ of x, as the comment of int8_rows says.
plain rounded_to_8_bits(const plain& X, index heads) {
  plain R(X.rows(), X.cols());
  const index width = heads > 0 ? X.cols() / heads : 0;
  for (index i = 0; i < X.rows(); ++i)
    for (index h = 0; h < heads; ++h) {
      float most = 0;
      for (index x = 0; x < width; ++x) most = std::max(most, std::abs(X(i, h * width + x)));
      const float scale = most / 127 < 1e-36F ? 0 : most / 127;
      for (index x = 0; x < width; ++x)
        R(i, h * width + x) =
            scale > 0 ? scale * float(std::lrint(X(i, h * width + x) / scale)) : 0.0F;
    }
  return R;
}

template <class Stored>
any_rows pages_of(reader& in, const plain& X, bool& valid) {
  using pool_type = Eigen::Matrix<Stored, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  constexpr bool scaled = std::is_same_v<Stored, std::int8_t>;
  constexpr index page_sizes[] = {1, 2, 4, 8, 16, 32, 64, 128};
  const index page_rows = in.any_of(page_sizes);
  const index asked = in.one_in(64) ? in.or_wild(3) : page_rows;
  const index rows = in.or_wild(X.rows());
  const index needed = (X.rows() + page_rows - 1) / page_rows;
  const index pages = needed + in.between(0, 2), extra = in.one_in(32) ? 1 : 0;
  const auto pool = std::make_shared<pool_type>(pages * page_rows + extra, X.cols());
  const index heads = scaled ? in.between(1, 4) : 1;
  const auto scales = std::make_shared<plain>(plain::Ones(pool->rows(), heads));
  numbers random(in.word());
  std::vector<std::int32_t> table;
  for (index p = 0; p < needed; ++p)
    table.push_back(std::int32_t(random.bits() % std::uint64_t(pages)));
  const bool bad_page = needed > 0 && in.one_in(32);
  if (bad_page) table[0] = in.any_of<std::int32_t>({-1, std::int32_t(pages), 2147483647});
  for (index i = 0; i < pool->size(); ++i)
    pool->data()[i] = scaled ? Stored(random.bits() % 256) : Stored(random.next());
  if (scaled)
    for (index i = 0; i < scales->size(); ++i) scales->data()[i] = random.next() * 0.02F;
  const index shift = softlook::detail::exact_log2(asked);
  valid = shift >= 0 && asked <= (index{1} << 20) && pool->rows() % asked == 0 && rows >= 0 &&
          rows <= index(table.size()) * asked && (!scaled || X.cols() % heads == 0);
  for (const std::int32_t p : table)
    valid = valid && p >= 0 && p < pool->rows() / std::max<index>(asked, 1);
  // Rows of the given numbers, in the order of the table: of a page that comes twice the last.
  if constexpr (!scaled)
    for (index r = 0; r < X.rows() && !bad_page; ++r)
      for (index x = 0; x < X.cols(); ++x)
        (*pool)(table[std::size_t(r / page_rows)] * page_rows + r % page_rows, x) = Stored(X(r, x));
  any_rows result;
  const auto make = [&] {
    using paged = softlook::paged_rows<float, Stored>;
    const auto view = [&] {
      if constexpr (scaled)
        return paged(*pool, *scales, asked, table, rows);
      else
        return paged(*pool, asked, table, rows);
    }();
    plain wide(rows, X.cols());
    for (index r = 0; r < rows; ++r) {
      const index at = table[std::size_t(r / asked)] * asked + r % asked;
      for (index x = 0; x < X.cols(); ++x) {
        wide(r, x) = float((*pool)(at, x));
        if (scaled) wide(r, x) *= (*scales)(at, x / (X.cols() / heads));
      }
    }
    result =
        rows_of(view, std::make_shared<std::pair<decltype(pool), decltype(scales)>>(pool, scales),
                std::move(wide));
  };
  require(refused(make) == !valid, "paged_rows: refused or taken against its documentation");
  result.scales = heads;
  return result;
}

any_rows stored(reader& in, const plain& X, bool& valid) {
  valid = true;
  switch (in.between(0, 5)) {
    case 0: {
      const auto memory = std::make_shared<placed<float>>(place<float>(in, X));
      const softlook::matrix_view<float> view{memory->memory->data() + memory->first, X.rows(),
                                              X.cols(), memory->row_stride, memory->col_stride};
      return {[memory, view](softlook::instruction_set isa) {
                return softlook::detail::source_of<float>(
                    view, softlook::detail::stored_rows_of<float, float>(isa));
              },
              X.rows(), X.cols(), X};
    }
    case 1: {
      const index heads = in.or_wild(in.between(0, 4));
      valid = heads >= 1 && heads <= std::max<index>(X.cols(), 1) && X.cols() % heads == 0 &&
              X.allFinite();
      any_rows result;
      const auto make = [&] {
        const softlook::int8_rows<float> rows(X, heads);
        result = rows_of(rows, std::shared_ptr<int>(), rounded_to_8_bits(X, heads));
      };
      require(refused(make) == !valid, "int8_rows: refused or taken against its documentation");
      result.scales = heads;
      return result;
    }
    case 2:
      return pages_of<float>(in, X, valid);
    case 3:
      return pages_of<Eigen::half>(in, X, valid);
    case 4:
      return pages_of<Eigen::bfloat16>(in, X, valid);
    default:
      return pages_of<std::int8_t>(in, X, valid);
  }
}

// One call.

struct sizes {
  index n, m, heads, kv, d, e, q_cols, k_cols, v_cols, v_rows;
  std::optional<index> kv_given;
  bool valid;
};

sizes sizes_of(reader& in) {
  sizes s{};
  s.n = in.one_in(2) ? in.between(0, 80) : in.between(0, 9);
  s.m = in.one_in(2) ? in.between(0, 200) : in.between(0, 20);
  s.kv = in.between(1, 3);
  s.heads = s.kv * in.between(1, 3);
  s.d = in.one_in(40) ? 0 : in.between(1, 40);
  s.e = in.one_in(40) ? 0 : in.between(1, 40);
  s.q_cols = s.heads * s.d;
  s.k_cols = s.kv * s.d;
  s.v_cols = s.kv * s.e;
  s.v_rows = s.m;
  s.valid = true;
  if (in.one_in(16)) {  // one size that is off
    index* const sizes[] = {&s.q_cols, &s.k_cols, &s.v_cols, &s.v_rows, &s.heads, &s.kv};
    index& size = *in.any_of(sizes);
    size = std::max<index>(size + in.between(-2, 2), &size == &s.heads || &size == &s.kv ? -1 : 0);
    s.valid = s.heads >= 1 && s.kv >= 1 && s.heads % s.kv == 0 && s.q_cols % s.heads == 0 &&
              s.k_cols % s.kv == 0 && s.v_cols % s.kv == 0 &&
              s.q_cols / s.heads == s.k_cols / s.kv && s.v_rows == s.m;
  }
  s.kv_given = s.kv == s.heads && in.one_in(2) ? std::nullopt : std::optional(s.kv);
  return s;
}

/// Where the rows of a call stand; the lists outlive it.
struct placement {
  enum { in_frame, in_segments, in_batch } kind = in_frame;
  softlook::frame frame{};
  std::vector<std::int32_t> queries, keys;
  index sequences = 1;
  bool same_keys = false;
  bool valid = true;
  std::vector<part> parts;
};

void place_in_frame(reader& in, placement& p, index n, index m) {
  softlook::frame& f = p.frame;
  part one{.q = {0, n}, .k = {0, m}, .size = {}, .positions = nullptr};
  constexpr index most = std::numeric_limits<std::int32_t>::max();
  if (in.one_in(2)) {
    f.first_query = in.or_wild(in.between(0, 30));
    f.first_key = in.or_wild(in.between(0, 30));
    if (in.one_in(3)) f.queries = in.or_wild(n + in.between(-1, 40));
    if (in.one_in(3)) f.keys = in.or_wild(m + in.between(-1, 40));
    if (in.one_in(4)) {
      numbers random(in.byte());
      const index count = in.one_in(16) ? n + 1 : n;
      for (index i = 0; i < count; ++i) p.queries.push_back(std::int32_t(random.bits() % 50));
      if (count > 0 && in.one_in(16)) p.queries[0] = in.any_of<std::int32_t>({-1, 2147483647});
      f.query_positions = p.queries;
    }
  }
  const auto fits = [](index first, index rows, std::optional<index> all) {
    if (first < 0 || first > most || first + rows > most) return false;
    return !all || (*all >= first + rows && *all <= most);
  };
  index end = f.first_query + (f.first_query > most ? 0 : n);
  p.valid = fits(f.first_key, m, f.keys);
  if (p.queries.empty()) {
    p.valid = p.valid && fits(f.first_query, n, f.queries);
  } else {
    end = 0;
    for (const std::int32_t at : p.queries) {
      p.valid = p.valid && at >= 0;
      end = std::max(end, index{at} + 1);
    }
    p.valid = p.valid && index(p.queries.size()) == n && fits(0, end, f.queries);
    one.positions = p.queries.data();
  }
  if (!p.valid) return;
  one.first_query = f.first_query;
  one.first_key = f.first_key;
  one.size.queries = std::int32_t(f.queries.value_or(end));
  one.size.keys = std::int32_t(f.keys.value_or(f.first_key + m));
  p.parts = {one};
}

void add_sequence(placement& p, softlook::range q, softlook::range k) {
  problem size{.queries = std::int32_t(q.count()), .keys = std::int32_t(k.count())};
  size.sequence = std::int32_t(p.parts.size());
  p.parts.push_back({.q = q, .k = k, .size = size, .positions = nullptr});
}

void place_in_segments(reader& in, placement& p, index n, index m) {
  p.kind = placement::in_segments;
  const index count = in.between(0, 6);
  const auto offsets = [&](index rows) {
    std::vector<std::int32_t> list;
    for (index s = 0; s < count; ++s) list.push_back(std::int32_t(in.byte() * rows / 255));
    list.push_back(0);
    list.push_back(std::int32_t(rows));
    std::sort(list.begin(), list.end());
    if (in.one_in(24))
      list[std::size_t(in.byte()) % list.size()] = std::int32_t(in.between(-1, 90));
    if (in.one_in(48)) list.pop_back();
    if (in.one_in(48)) list.clear();
    return list;
  };
  p.queries = offsets(n);
  p.same_keys = in.one_in(4);
  if (!p.same_keys) p.keys = offsets(m);
  const auto& keys = p.keys.empty() ? p.queries : p.keys;
  const auto fit = [](const std::vector<std::int32_t>& list, index rows) {
    return !list.empty() && list.front() == 0 && list.back() == rows &&
           std::is_sorted(list.begin(), list.end());
  };
  p.valid = fit(p.queries, n) && fit(keys, m) && keys.size() == p.queries.size();
  for (std::size_t s = 0; p.valid && s + 1 < keys.size(); ++s)
    add_sequence(p, {p.queries[s], p.queries[s + 1]}, {keys[s], keys[s + 1]});
}

void place_in_batch(reader& in, placement& p, index n, index m) {
  p.kind = placement::in_batch;
  p.sequences = in.or_wild(in.between(1, 6));
  if (n == 0 && m == 0) p.sequences = std::min<index>(p.sequences, 6);  // any number of empty ones
  const index count = std::clamp<index>(p.sequences, 0, 8);
  const auto lengths = [&](index rows) {
    std::vector<std::int32_t> list;
    for (index s = 0; s < count; ++s)
      list.push_back(std::int32_t(in.byte() * (rows / std::max<index>(count, 1)) / 255));
    if (in.one_in(24)) list.push_back(0);
    if (!list.empty() && in.one_in(24)) list[0] = std::int32_t(in.between(-1, 90));
    if (in.one_in(3)) list.clear();
    return list;
  };
  p.queries = lengths(n);
  p.keys = lengths(m);
  p.valid = p.sequences >= 1 && n % p.sequences == 0 && m % p.sequences == 0;
  if (!p.valid) return;
  const auto fit = [&](const std::vector<std::int32_t>& list, index rows) {
    if (list.empty()) return true;
    return index(list.size()) == p.sequences &&
           std::all_of(list.begin(), list.end(), [&](index x) { return x >= 0 && x <= rows; });
  };
  const index queries = n / p.sequences, keys = m / p.sequences;
  p.valid = fit(p.queries, queries) && fit(p.keys, keys);
  for (index s = 0; p.valid && s < p.sequences; ++s) {
    const index q = p.queries.empty() ? queries : p.queries[std::size_t(s)];
    const index k = p.keys.empty() ? keys : p.keys[std::size_t(s)];
    add_sequence(p, {s * queries, s * queries + q}, {s * keys, s * keys + k});
  }
}

/// Whether masks, transforms and sinks fit; what the checks of policies say is asked of them.
bool policies_fit(const call& c) {
  return !refused([&] {
    for (const part& p : c.parts) {
      c.mask.check("fuzz", p.size);
      c.transform.check<float>("fuzz", p.size);
    }
  });
}

/// All policies of one call and whatever else it needs.
struct setting {
  call c;
  placement at;
  softlook::options opts;
  softlook::heads heads;
  Eigen::VectorXd sinks;
  index workers = 1;
  bool valid = true;
  bool maybe = false;  // an overlap that strides do not tell
};

/// The output inside the memory of an input, or beside it.
placed<float> output_of(reader& in, setting& s, placed<float>& v, index rows, index cols,
                        std::initializer_list<const placed<float>*> inputs) {
  const unsigned choice = in.byte();
  if (choice < 200 || inputs.size() == 0) return place<float>(in, plain::Constant(rows, cols, 5));
  placed<float> o;
  o.rows = rows;
  o.cols = cols;
  if (choice < 225) {  // V and O are columns of one matrix
    const index back = in.one_in(3) ? in.between(1, 3) : 0;
    const index stride = std::max<index>(v.cols + cols, 1);
    auto memory =
        std::make_shared<std::vector<float>>(std::size_t(stride * std::max(v.rows, rows)), 7.0F);
    placed<float> moved{memory, 0, v.rows, v.cols, stride, 1};
    for (index i = 0; i < v.rows; ++i)
      for (index j = 0; j < v.cols; ++j) (*memory)[std::size_t(moved.at(i, j))] = v.map()(i, j);
    v = moved;
    o.memory = memory;
    o.first = std::max<index>(v.cols - back, 0);
    if (memory->empty()) o.first = v.first = 0;
    o.row_stride = stride;
  } else {
    const placed<float>& x = **(inputs.begin() + in.byte() % inputs.size());
    const index length = rows > 0 ? (rows - 1) * std::max<index>(cols, 1) + cols : 0;
    if (length > index(x.memory->size())) return place<float>(in, plain::Constant(rows, cols, 5));
    o.memory = x.memory;
    o.first = (index(x.memory->size()) - length) * index(in.byte()) / 255;
    o.row_stride = std::max<index>(cols, 1);
  }
  for (const placed<float>* x : inputs) {
    if (x->memory != o.memory || rows * cols == 0) continue;
    std::set<index> taken;
    for (index i = 0; i < x->rows; ++i)
      for (index j = 0; j < x->cols; ++j) taken.insert(x->at(i, j));
    bool meets = false;
    for (index i = 0; i < rows; ++i)
      for (index j = 0; j < cols; ++j) meets = meets || taken.count(o.at(i, j)) > 0;
    if (meets)
      s.valid = false;
    else if (x->row_stride != o.row_stride || x->col_stride != o.col_stride)
      s.maybe = true;
  }
  return o;
}

void describe(const call& c, const softlook::options& opts, const char* where) {
  const softlook::tile_shape tile = opts.tile.value_or(softlook::tile_shape{});
  std::snprintf(running, sizeof running,
                "%s: %td queries, %td keys, %td heads of %td, %td and %td columns, kernel %d, isa "
                "%d, tile %td %td, scale %g, transform %d %g, %td sinks, %td parts",
                where, c.Q.rows(), c.K.rows(), c.heads, c.kv, c.Q.cols(), c.V.cols(),
                opts.kernel ? int(*opts.kernel) : -1, opts.isa ? int(*opts.isa) : -1, tile.keys,
                tile.query_tiles, c.scale, int(c.transform.kind), c.transform.number,
                index(c.sinks.size()), index(c.parts.size()));
}

/// Whether some query of the call sees a key.
bool is_seen(const call& c, index key) {
  for (const part& p : c.parts) {
    if (key < p.k.begin || key >= p.k.end) continue;
    for (index head = 0; head < c.heads; ++head) {
      problem size = p.size;
      size.head = std::int32_t(head);
      for (index i = 0; i < p.q.count(); ++i)
        if (c.mask.allows(p.query(i), std::int32_t(p.first_key + key - p.k.begin), size))
          return true;
    }
  }
  return false;
}

/// The way back of a call that was taken: no shape is refused that fits, and none taken that does
/// not; the same bits with other workers; what is not seen gets zeros, whatever it holds.
template <class K, class V, class State, class... Ps>
void run_back(const setting& s, const placed<float>& q, const K& k, const V& v, const State& state,
              const Ps&... policies) {
  using softlook::attention_backward;
  numbers random(unsigned(state.output.size()));
  plain dO(state.output.rows(), state.output.cols());
  for (index x = 0; x < dO.size(); ++x) dO.data()[x] = random.next();
  const softlook_test::round_robin exec{s.workers}, other{s.workers % 3 + 1};
  const auto g = attention_backward(q.map(), k, v, state.output, state.log_sum_exp, dO, s.opts,
                                    exec, policies...);
  const auto again = attention_backward(q.map(), k, v, state.output, state.log_sum_exp, dO, s.opts,
                                        other, policies...);
  const auto same = [](const plain& a, const plain& b) {
    require(a.rows() == b.rows() && a.cols() == b.cols() &&
                std::equal(a.data(), a.data() + a.size(), b.data(), same_bits),
            "other bits of a gradient with other workers");
  };
  same(g.dQ, again.dQ);
  same(g.dK, again.dK);
  same(g.dV, again.dV);
  require(g.dQ.rows() == q.rows && g.dK.rows() == k.rows() && g.dV.cols() == v.cols(),
          "a gradient has another shape than what it belongs to");
  for (index j = 0; j < k.rows(); ++j) {
    if ((g.dK.row(j).array() == 0).all() && (g.dV.row(j).array() == 0).all()) continue;
    require(is_seen(s.c, j), "a key that no query sees has a gradient");
  }
  const plain wrong = plain::Zero(dO.rows() + 1, dO.cols());
  require(refused([&] {
            (void)attention_backward(q.map(), k, v, state.output, state.log_sum_exp, wrong, s.opts,
                                     policies...);
          }),
          "a gradient of another shape was taken");
}

template <class K, class V, class... Ps>
void run_call(setting& s, const placed<float>& q, const K& k, const V& v, const placed<float>& o,
              const Ps&... policies) {
  const std::vector<float> before = *o.memory;
  describe(s.c, s.opts, softlook::stored_rows<K> ? "stored rows" : "matrices");
  const softlook_test::round_robin exec{s.workers}, other{s.workers % 3 + 1};
  const bool no = refused([&] {
    auto O = o.map();
    softlook::attention_into(q.map(), k, v, O, s.opts, exec, policies...);
  });
  if (no) {
    require(!s.valid || s.maybe, "a valid call was refused");
    require(before.size() == o.memory->size() &&
                std::equal(before.begin(), before.end(), o.memory->begin(), same_bits),
            "a call that was refused has written");
    return;
  }
  require(s.valid, "an invalid call was taken");
  std::vector<char> inside(before.size(), 0);
  for (index i = 0; i < o.rows; ++i)
    for (index j = 0; j < o.cols; ++j) inside[std::size_t(o.at(i, j))] = 1;
  for (std::size_t x = 0; x < before.size(); ++x)
    require(inside[x] || same_bits(before[x], (*o.memory)[x]), "written outside the output");
  const auto state =
      softlook::attention_with_log_sum_exp(q.map(), k, v, s.opts, other, policies...);
  const auto O = o.map();
  for (index i = 0; i < o.rows; ++i)
    for (index j = 0; j < o.cols; ++j)
      require(same_bits(O(i, j), state.output(i, j)), "other bits with other workers");
  compare(s.c, O, &state.log_sum_exp);
  if constexpr (std::is_same_v<K, strided<float>>) run_back(s, q, k, v, state, policies...);
}

/// The instantiations of calls: a few of all combinations, each of which is compiled.
template <class K, class V>
void run_placed(setting& s, const placed<float>& q, const K& k, const V& v, const placed<float>& o,
                bool sinks) {
  const auto& [mask, transform] = std::tie(s.c.mask, s.c.transform);
  constexpr bool matrices = !softlook::stored_rows<K>;
  if (s.at.kind == placement::in_segments) {
    const softlook::segments at{s.at.queries, s.at.keys};
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, at);
    else
      run_call(s, q, k, v, o, s.heads, mask, transform, at, softlook::sinks(s.sinks));
  } else if (s.at.kind == placement::in_batch) {
    const softlook::padded_batch at{s.at.sequences, s.at.queries, s.at.keys};
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, at, softlook::sinks(s.sinks));
    else
      run_call(s, q, k, v, o, s.heads, mask, transform, at);
  } else if (sinks) {
    if constexpr (matrices)
      run_call(s, q, k, v, o, s.heads, mask, transform, s.at.frame, softlook::sinks(s.sinks));
  } else {
    run_call(s, q, k, v, o, s.heads, mask, transform, s.at.frame);
  }
}

/// Sinks of a call, if its instantiation takes them.
void give_sinks(reader& in, setting& s, bool wanted) {
  if (!wanted) return;
  const index count =
      in.one_in(32) ? std::max<index>(s.c.heads + 1, 0) : std::max<index>(s.c.heads, 0);
  s.sinks.resize(count);
  constexpr double odd[] = {NAN, infinity, 1e39};
  numbers random(in.byte());
  for (index h = 0; h < count; ++h)
    s.sinks[h] = random.bits() % 3 == 0 ? -infinity : 4 * double(random.next());
  const bool bad = count > 0 && in.one_in(32);
  if (bad) s.sinks[0] = in.any_of(odd);
  if (count != s.c.heads || bad) s.valid = false;
  s.c.sinks.assign(s.sinks.data(), s.sinks.data() + count);
}

/// What a call is told besides its matrices; `m` rows of keys.
void settle(reader& in, setting& s, const sizes& z, index m) {
  switch (in.between(0, 3)) {
    case 0:
      place_in_segments(in, s.at, z.n, m);
      break;
    case 1:
      place_in_batch(in, s.at, z.n, m);
      break;
    default:
      place_in_frame(in, s.at, z.n, m);
  }
  const sets given = options_of(in);
  s.opts = given.opts;
  s.workers = in.between(1, 5);
  s.c.heads = z.heads;
  s.c.kv = z.kv;
  s.heads = {.query = z.heads, .kv = z.kv_given};
  s.c.transform = transform_of(in);
  s.c.scale = s.opts.scale.value_or(1 / std::sqrt(double(std::max<index>(z.d, 1))));
  s.c.parts = s.at.parts;
  s.valid = s.valid && z.valid && s.at.valid && given.valid;
  if (s.valid && z.q_cols != z.heads * z.d)
    s.c.scale =
        s.opts.scale.value_or(1 / std::sqrt(double(std::max<index>(z.q_cols / z.heads, 1))));
}

void run_attention(reader& in) {
  const sizes z = sizes_of(in);
  setting s;
  s.c.Q = numbers_of(in, z.n, z.q_cols);
  plain K = numbers_of(in, z.m, z.k_cols), V = numbers_of(in, z.v_rows, z.v_cols);
  const index storage = in.between(0, 4);
  settle(in, s, z, z.m);
  const mask_functions mask = mask_of(in, z.m);
  s.c.mask = {&mask};
  const bool matrices = storage < 2;
  const bool wants = in.one_in(2);
  const bool sinks = s.at.kind == placement::in_segments ? !matrices && storage < 4
                     : s.at.kind == placement::in_batch  ? matrices
                                                         : matrices && wants;
  if (storage == 4) {
    if (s.at.kind != placement::in_frame) return;
    K = K.cast<Eigen::half>().cast<float>();
    V = V.cast<Eigen::bfloat16>().cast<float>();
  }
  any_rows K_rows, V_rows;
  if (storage == 2 || storage == 3) {
    bool k_valid = true, v_valid = true;
    K_rows = stored(in, K, k_valid);
    V_rows = stored(in, V, v_valid);
    if (!k_valid || !v_valid) return;
    for (const any_rows* rows : {&K_rows, &V_rows})  // a scale belongs to whole heads
      if (rows->cols() > 0 && z.kv % rows->scales != 0) s.valid = false;
    K = K_rows.wide;
    V = V_rows.wide;
    if (K.rows() != z.m || V.rows() != z.v_rows) return;
  }
  s.c.K = K;
  s.c.V = V;
  give_sinks(in, s, sinks);
  if (s.valid) s.valid = policies_fit(s.c);
  const placed<float> q = place<float>(in, s.c.Q);
  const bool whole = z.heads >= 1 && z.kv >= 1;
  const index columns = whole ? z.v_cols / z.kv * z.heads : 4;
  if (matrices) {
    const placed<float> k = place<float>(in, K);
    placed<float> v = place<float>(in, V);
    placed<float> o = output_of(in, s, v, z.n, columns, {&q, &k, &v});
    if (in.one_in(48)) {  // an output of another shape
      o = place<float>(in, plain::Constant(z.n, columns + 1, 5));
      s.valid = false;
    }
    run_placed(s, q, k.map(), v.map(), o, sinks);
    return;
  }
  placed<float> none;
  const placed<float> o = output_of(in, s, none, z.n, columns, {});
  if (storage == 4) {
    const auto k = place<Eigen::half>(in, K);
    const auto v = place<Eigen::bfloat16>(in, V);
    run_call(s, q, k.map(), v.map(), o, s.heads, s.c.mask, s.c.transform, s.at.frame);
  } else {
    run_placed(s, q, K_rows, V_rows, o, sinks);
  }
}

// A cache.

/// Row by row what a cache was given, as it keeps it.
template <class Stored>
plain kept_as(const plain& X, index heads) {
  if constexpr (std::is_same_v<Stored, std::int8_t>)
    return rounded_to_8_bits(X, heads);
  else
    return X.template cast<Stored>().template cast<float>();
}

void append_rows(plain& to, const plain& more, index cols) {
  const index rows = to.rows();
  to.conservativeResize(rows + more.rows(), cols);
  for (index i = 0; i < more.rows(); ++i)
    for (index j = 0; j < cols; ++j) to(rows + i, j) = more(i, j);
}

template <class Stored>
struct sequence {
  softlook::kv_cache<float, Stored> cache;
  plain K, V;
  index first = 0;
};

template <class Stored>
void append(reader& in, sequence<Stored>& s) {
  const softlook::kv_cache_shape& shape = s.cache.shape();
  const index rows = in.one_in(4) ? in.between(0, 90) : in.between(0, 5);
  index k_cols = shape.heads * shape.key_features, v_cols = shape.heads * shape.value_features;
  index v_rows = rows;
  if (in.one_in(16)) ++k_cols;
  if (in.one_in(16)) ++v_cols;
  if (in.one_in(16)) ++v_rows;
  const plain K = numbers_of(in, rows, k_cols), V = numbers_of(in, v_rows, v_cols);
  const auto k = place<float>(in, K), v = place<float>(in, V);
  bool valid = k_cols == shape.heads * shape.key_features &&
               v_cols == shape.heads * shape.value_features && v_rows == rows;
  if (std::is_same_v<Stored, std::int8_t>) valid = valid && K.allFinite() && V.allFinite();
  const bool no = refused([&] { s.cache.append(k.map(), v.map()); });
  require(no == !valid, "append: refused or taken against its documentation");
  if (no) return;
  append_rows(s.K, kept_as<Stored>(K, shape.heads), k_cols);
  append_rows(s.V, kept_as<Stored>(V, shape.heads), v_cols);
  const softlook::kv_cache_options& o = s.cache.options();
  if (o.window)
    s.first += std::max<index>(s.K.rows() - *o.window - s.first, 0) / o.page_rows * o.page_rows;
}

template <class Stored>
void attend(reader& in, const sequence<Stored>& s) {
  const softlook::kv_cache_shape& shape = s.cache.shape();
  const index group = in.between(1, 3), n = in.one_in(4) ? in.between(0, 60) : in.between(0, 4);
  const index size = s.K.rows();
  setting all;
  call& c = all.c;
  c.heads = shape.heads * group;
  c.kv = shape.heads;
  const bool bad = in.one_in(16);
  c.Q = numbers_of(in, n, c.heads * shape.key_features + (bad ? 1 : 0));
  all.valid = !bad || shape.key_features == 1;
  if (bad && all.valid) all.valid = (c.heads + 1) % c.kv == 0;
  if (bad && all.valid) c.heads += 1;
  c.K = s.K.bottomRows(size - s.first);
  c.V = s.V.bottomRows(size - s.first);
  const mask_functions mask = mask_of(in, size);
  c.mask = {&mask};
  c.transform = transform_of(in);
  const sets given = options_of(in);
  c.scale = given.opts.scale.value_or(1 / std::sqrt(double(shape.key_features)));
  part p{.q = {0, n}, .k = {0, size - s.first}, .size = {}, .positions = nullptr};
  p.first_query = std::max<index>(size - n, 0);
  p.first_key = s.first;
  p.size.queries = std::int32_t(std::max(size, n));
  p.size.keys = std::int32_t(size);
  c.parts = {p};
  all.valid = all.valid && given.valid && policies_fit(c);
  const auto q = place<float>(in, c.Q);
  const auto o = place<float>(in, plain::Constant(n, c.heads * shape.value_features, 5));
  const std::vector<float> before = *o.memory;
  describe(c, given.opts, "attend");
  const softlook_test::round_robin exec{in.between(1, 4)};
  const bool no = refused([&] {
    auto O = o.map();
    s.cache.attend_into(q.map(), O, c.mask, c.transform, given.opts, exec);
  });
  require(no == !all.valid, "attend: refused or taken against its documentation");
  if (no)
    require(std::equal(before.begin(), before.end(), o.memory->begin(), same_bits),
            "an attend that was refused has written");
  else
    compare(c, o.map(), static_cast<const plain*>(nullptr));
}

template <class Stored>
void run_cache(reader& in) {
  softlook::kv_cache_shape shape{in.between(1, 3), in.between(1, 20),
                                 in.one_in(16) ? 0 : in.between(1, 20)};
  softlook::kv_cache_options options;
  constexpr index page_sizes[] = {1, 2, 4, 8, 16, 64, 128};
  options.page_rows = in.one_in(32) ? in.or_wild(3) : in.any_of(page_sizes);
  if (in.one_in(2)) options.window = in.or_wild(in.between(0, 100));
  if (in.one_in(32)) shape.heads = -shape.heads;
  if (in.one_in(32)) shape.key_features = 0;
  if (in.one_in(32)) shape.value_features = -1;
  const bool valid = shape.heads >= 1 && shape.key_features >= 1 && shape.value_features >= 0 &&
                     softlook::detail::exact_log2(options.page_rows) >= 0 &&
                     options.page_rows <= (index{1} << 20) && options.window.value_or(1) >= 1;
  std::vector<sequence<Stored>> all;
  const bool no = refused([&] {
    all.push_back({softlook::kv_cache<float, Stored>(shape, options), plain(), plain()});
  });
  require(no == !valid, "kv_cache: refused or taken against its documentation");
  if (no) return;
  all[0].K.resize(0, shape.heads * shape.key_features);
  all[0].V.resize(0, shape.heads * shape.value_features);
  for (int steps = 0; steps < 40 && !in.done() && !all.empty(); ++steps) {
    const std::size_t at = in.byte() % all.size();
    sequence<Stored>& s = all[at];
    switch (in.between(0, 9)) {
      case 0:
      case 1:
      case 2:
        append(in, s);
        break;
      case 3: {
        const index size = in.or_wild(s.K.rows() - in.between(-1, 20));
        const bool fits = size >= s.first && size <= s.K.rows();
        require(refused([&] { s.cache.truncate(size); }) == !fits,
                "truncate: refused or taken against its documentation");
        if (!fits) break;
        s.K.conservativeResize(size, s.K.cols());
        s.V.conservativeResize(size, s.V.cols());
        break;
      }
      case 4:
        if (all.size() < 4) {
          sequence<Stored> fork{s.cache.fork(), s.K, s.V, s.first};
          all.push_back(std::move(fork));
        }
        break;
      case 5:
        if (all.size() > 1) all.erase(all.begin() + index(at));
        break;
      case 6: {  // a hypothesis takes the place of another
        const sequence<Stored>& from = all[in.byte() % all.size()];
        if (&from != &s) s = from;
        break;
      }
      default:
        attend(in, s);
    }
    for (const auto& x : all)
      require(x.cache.size() == x.K.rows() && x.cache.first() == x.first, "a cache lost count");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  reader in(data, size);
  switch (in.byte() % 8) {
    case 5:
      run_cache<float>(in);
      break;
    case 6:
      run_cache<Eigen::bfloat16>(in);
      break;
    case 7:
      run_cache<std::int8_t>(in);
      break;
    default:
      run_attention(in);
  }
  return 0;
}
