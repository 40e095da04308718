// What does it bring to hold keys and values in fewer bits, or in a cache? A decode step reads them
// once, so it should take as long as its bytes: fraction_of_bandwidth is of the bytes that are
// really read, scales included. In full attention tiles are converted while they are packed, which
// should cost nothing. relative_time is the row's time over that of float matrices. Rows are hot
// (the same K and V in every call) unless the name ends in /cold: then the calls go round a ring of
// them that is four times the largest cache.

#include <array>
#include <numeric>
#include <softlook/attention.hpp>
#include <softlook/cache.hpp>
#include <softlook/layer/linear_layer.hpp>

#include "support/inputs.hpp"
#include "support/row.hpp"

namespace {

using bench::index;
using bench::matrix;
using Eigen::bfloat16;
using Eigen::half;

struct shape {
  index n = 1;
  index m = 0;
  index d = 0;
  softlook::heads heads{.query = 1, .kv = 1};

  [[nodiscard]] index columns() const { return heads.kv_or_query() * d; }
  friend bool operator==(const shape& a, const shape& b) {
    return a.n == b.n && a.m == b.m && a.d == b.d && a.heads.query == b.heads.query &&
           a.columns() == b.columns();
  }
};

/// Keys and values in some storage.
struct memory {
  std::function<void(const matrix<float>& Q, matrix<float>& O)> attend;
  std::vector<bench::region> regions;
};

/// Another copy of them in memory of its own.
using maker = std::function<memory()>;

struct storage {
  const char* name;
  maker (*hold)(const shape& s, const matrix<float>& K, const matrix<float>& V);
  matrix<float> (*read)(const shape& s, const matrix<float>& X);  ///< the numbers that it holds
};

template <class X>
void add_region(std::vector<bench::region>& to, const X& x) {
  to.push_back({x.data(), std::size_t(x.size()) * sizeof(*x.data())});
}

template <class Rows>
[[nodiscard]] auto attend_to(const shape& s, std::shared_ptr<const Rows> K,
                             std::shared_ptr<const Rows> V) {
  return [K, V, h = s.heads](const matrix<float>& Q, matrix<float>& O) {
    softlook::attention_into(Q, *K, *V, O, h);
  };
}

template <class S>
[[nodiscard]] maker hold_matrix(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  return [s, k = matrix<S>(k.cast<S>()), v = matrix<S>(v.cast<S>())] {
    const auto K = std::make_shared<const matrix<S>>(k), V = std::make_shared<const matrix<S>>(v);
    memory held{.attend = attend_to(s, K, V), .regions = {}};
    add_region(held.regions, *K);
    add_region(held.regions, *V);
    return held;
  };
}

[[nodiscard]] maker hold_int8(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  using rows = softlook::int8_rows<float>;
  return [s, k = rows(k, s.heads.kv_or_query()), v = rows(v, s.heads.kv_or_query())] {
    const auto K = std::make_shared<const rows>(k.values(), k.scales());
    const auto V = std::make_shared<const rows>(v.values(), v.scales());
    memory held{.attend = attend_to(s, K, V), .regions = {}};
    for (const rows* x : {K.get(), V.get()}) {
      add_region(held.regions, x->values());
      add_region(held.regions, x->scales());
    }
    return held;
  };
}

constexpr index page_rows = 128;

template <class Stored>
[[nodiscard]] memory cache_of(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  using cache = softlook::kv_cache<float, Stored>;
  const auto held = std::make_shared<cache>(
      softlook::kv_cache_shape{
          .heads = s.heads.kv_or_query(), .key_features = s.d, .value_features = s.d},
      softlook::kv_cache_options{.page_rows = page_rows});
  held->append(k, v);
  memory made{
      .attend = [held](const matrix<float>& Q, matrix<float>& O) { held->attend_into(Q, O); },
      .regions = {}};
  // Where pages lie is known to kernels alone.
  const auto isa = softlook::instruction_set::baseline;
  for (const auto& side : {held->keys(), held->values()}) {
    const auto* table = static_cast<const softlook::detail::row_pages*>(side.source(isa).storage);
    for (index first = 0, p = 0; first < s.m; first += page_rows, ++p) {
      const auto rows = std::size_t(std::min(page_rows, s.m - first));
      made.regions.push_back({table->pages[p], rows * std::size_t(s.columns()) * sizeof(Stored)});
      if (table->scale_stride > 0)
        made.regions.push_back(
            {table->scales[p], rows * std::size_t(table->scale_stride) * sizeof(float)});
    }
  }
  return made;
}

template <class Stored>
[[nodiscard]] maker hold_cache(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  return [s, k, v] { return cache_of<Stored>(s, k, v); };
}

/// Pages of a pool in an order of chance.
[[nodiscard]] memory pages_of(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  struct pool {
    matrix<float> K, V;
  };
  const auto held = std::make_shared<pool>(pool{k, v});
  std::vector<std::int32_t> table(std::size_t(s.m / page_rows));
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937_64(7));
  for (std::size_t p = 0; p < table.size(); ++p) {
    held->K.middleRows(table[p] * page_rows, page_rows) =
        k.middleRows(index(p) * page_rows, page_rows);
    held->V.middleRows(table[p] * page_rows, page_rows) =
        v.middleRows(index(p) * page_rows, page_rows);
  }
  using rows = softlook::paged_rows<float>;
  const auto K = std::make_shared<const rows>(held->K, page_rows, table, s.m);
  const auto V = std::make_shared<const rows>(held->V, page_rows, table, s.m);
  memory made{.attend = [held, attend = attend_to(s, K, V)](const matrix<float>& Q,
                                                            matrix<float>& O) { attend(Q, O); },
              .regions = {}};
  add_region(made.regions, held->K);
  add_region(made.regions, held->V);
  return made;
}

[[nodiscard]] maker hold_pages(const shape& s, const matrix<float>& k, const matrix<float>& v) {
  return [s, k, v] { return pages_of(s, k, v); };
}

template <class S>
[[nodiscard]] matrix<float> read_as(const shape&, const matrix<float>& X) {
  return X.cast<S>().template cast<float>();
}
[[nodiscard]] matrix<float> read_int8(const shape& s, const matrix<float>& X) {
  return softlook::int8_rows<float>(X, s.heads.kv_or_query()).matrix();
}

// The first is the one that the others are compared with.
constexpr std::array<storage, 8> storages = {{
    {"float", hold_matrix<float>, read_as<float>},
    {"half", hold_matrix<half>, read_as<half>},
    {"bfloat16", hold_matrix<bfloat16>, read_as<bfloat16>},
    {"int8_rows", hold_int8, read_int8},
    {"cache of float", hold_cache<float>, read_as<float>},
    {"cache of bfloat16", hold_cache<bfloat16>, read_as<bfloat16>},
    {"cache of int8", hold_cache<std::int8_t>, read_int8},
    {"paged_rows", hold_pages, read_as<float>},
}};

/// Copies of one problem, each in its own memory: whichever a call takes, the result is the same.
struct ring {
  matrix<float> Q, O;
  std::vector<memory> memories;
  std::size_t turn = 0;

  ring(const storage& how, const shape& s, bool cold)
      : Q(bench::random_matrix<float>(s.n, s.heads.query * s.d, 1)),
        O(matrix<float>::Zero(Q.rows(), Q.cols())) {
    const maker another = how.hold(s, bench::random_matrix<float>(s.m, s.columns(), 2),
                                   bench::random_matrix<float>(s.m, s.columns(), 3));
    memories.push_back(another());
    std::size_t bytes = 0;
    for (const bench::region& r : memories.front().regions) bytes += r.bytes;
    const std::size_t count = cold ? bench::copies_in_ring(bytes) : 1;
    while (memories.size() < count) memories.push_back(another());
  }
  void attend() { memories[turn++ % memories.size()].attend(Q, O); }
  [[nodiscard]] std::vector<bench::region> regions() const {
    std::vector<bench::region> all;
    for (const memory& each : memories)
      all.insert(all.end(), each.regions.begin(), each.regions.end());
    return all;
  }

  /// That of float matrices is the same for rows that follow each other.
  [[nodiscard]] static std::shared_ptr<ring> of_float(const shape& s, bool cold) {
    static shape kept_shape;
    static bool kept_cold = false;
    static std::shared_ptr<ring> kept;
    if (kept == nullptr || !(kept_shape == s) || kept_cold != cold) {
      kept.reset();
      kept = std::make_shared<ring>(storages[0], s, cold);
      kept_shape = s;
      kept_cold = cold;
    }
    return kept;
  }
};

/// Against the numbers that are held: what rounding them costs is a test's question.
[[nodiscard]] double error_of(const ring& r, const storage& how, const shape& s) {
  const matrix<float> K = how.read(s, bench::random_matrix<float>(s.m, s.columns(), 2));
  const matrix<float> V = how.read(s, bench::random_matrix<float>(s.m, s.columns(), 3));
  double worst = 0;
  for (index h = 0; h < s.heads.query; ++h) {
    const index group = h / (s.heads.query / s.heads.kv_or_query());
    const auto q = r.Q.middleCols(h * s.d, s.d);
    const auto keys = K.middleCols(group * s.d, s.d), values = V.middleCols(group * s.d, s.d);
    const double error = bench::sampled_error(values, r.O.middleCols(h * s.d, s.d), false,
                                              bench::dot_scores(q, keys));
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

[[nodiscard]] bench::row storage_row(const storage& how, const shape& s, bool cold) {
  const auto number = [](index x) { return std::to_string(x); };
  bench::row r{.name = std::string("storage/") + how.name + "/n:" + number(s.n) + "/m:" +
                       number(s.m) + "/d:" + number(s.d) + "/heads:" + number(s.heads.query) +
                       "/kv:" + number(s.heads.kv_or_query()) + (cold ? "/cold" : ""),
               .flops = 4.0 * double(s.n * s.m) * double(s.d * s.heads.query),
               .prepare = {}};
  r.prepare = [how, s, cold] {
    const auto plain = ring::of_float(s, cold);
    const bool is_plain = how.hold == storages[0].hold;
    const auto in = is_plain ? plain : std::make_shared<ring>(how, s, cold);
    bench::prepared_row work;
    work.call = [in] { in->attend(); };
    work.error = [in, how, s] { return error_of(*in, how, s); };
    work.tolerance = bench::tolerance<float>();
    if (s.n == 1) {
      work.reads = in->regions();
      work.calls_per_read = double(in->memories.size());
    }
    work.others.push_back({.call = [plain] { plain->attend(); }});
    return work;
  };
  return r;
}

/// Copies of one layer, each in its own memory.
struct layer_ring {
  matrix<float> X, Y;
  std::vector<softlook::linear_layer<float>> layers;
  std::size_t turn = 0;

  layer_ring(const matrix<float>& W, softlook::weight_storage kept, index n, bool cold)
      : X(bench::random_matrix<float>(n, W.rows(), 1)), Y(n, W.cols()) {
    const softlook::linear_layer<float> layer(W, softlook::activation::none, kept);
    layers.assign(cold ? bench::copies_in_ring(layer.weight_bytes()) : 1, layer);
  }
  void apply() { layers[turn++ % layers.size()].into(X, Y); }

  /// The weights that it holds: a product with the unit matrix adds nothing to them.
  [[nodiscard]] double error() {
    apply();
    const index inputs = X.cols();
    const matrix<float> W = layers.front()(matrix<float>::Identity(inputs, inputs).eval());
    const Eigen::MatrixXd truth = X.cast<double>() * W.cast<double>();
    return (truth - Y.cast<double>()).cwiseAbs().maxCoeff();
  }
};

[[nodiscard]] bench::row weights_row(softlook::weight_storage kept, index n, bool cold) {
  constexpr index inputs = 576, outputs = 1536;  // of a decoder of 135 M parameters
  const bool exact = kept == softlook::weight_storage::exact;
  bench::row r{.name = std::string("storage/weights of ") + (exact ? "float" : name_of(kept)) +
                       "/576x1536/n:" + std::to_string(n) + (cold ? "/cold" : ""),
               .flops = 2.0 * double(n * inputs * outputs),
               .prepare = {}};
  r.prepare = [kept, n, cold] {
    const matrix<float> W = bench::random_matrix<float>(inputs, outputs, 2) / 24;
    const auto plain = std::make_shared<layer_ring>(W, softlook::weight_storage::exact, n, cold);
    const auto in = std::make_shared<layer_ring>(W, kept, n, cold);
    bench::prepared_row work;
    work.call = [in] { in->apply(); };
    work.error = [in] { return in->error(); };
    work.tolerance = bench::tolerance<float>();
    work.others.push_back({.call = [plain] { plain->apply(); }});
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const auto add = [&](const shape& s, bool cold) {
    for (const storage& how : storages) rows.push_back(storage_row(how, s, cold));
  };
  const softlook::heads one{.query = 1, .kv = 1}, grouped{.query = 8, .kv = 2};
  // K and V of float together: 4 MiB (a slice of a last cache), 8, 16, and 32 MiB.
  for (const bench::index m : {4096, 8192, 16384, 32768}) {
    add({.m = m, .d = 128, .heads = one}, false);
    if (m == 4096 || m == 32768) {
      add({.m = m, .d = 128, .heads = one}, true);
      add({.m = m, .d = 64, .heads = grouped}, false);
      add({.m = m, .d = 64, .heads = grouped}, true);
    }
  }
  add({.n = 1024, .m = 1024, .d = 128, .heads = one}, false);
  using enum softlook::weight_storage;
  for (const bench::index n : {1, 64})
    for (const bool cold : {false, true})
      for (const auto kept : {exact, bfloat16, int8}) rows.push_back(weights_row(kept, n, cold));
  return bench::run_rows(argc, argv, std::move(rows));
}
