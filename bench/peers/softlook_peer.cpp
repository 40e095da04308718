// softlook's side of the comparison with its peers: a child process of compare.py that prepares
// rows and times calls when it is asked to, so that all peers take turns in one run. protocol.py
// has the words of the conversation; README.md (one folder up) says what is compared.

#include <softlook/attention.hpp>
#include <softlook/exec/thread_pool.hpp>
#include <softlook/layer/multi_head.hpp>
#include <softlook/transformer.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench/support/peak.hpp"

namespace {

using softlook::index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using row = Eigen::Matrix<float, 1, Eigen::Dynamic>;
namespace masks = softlook::masks;
namespace scores = softlook::scores;
namespace transforms = softlook::transforms;

/// What a row is: `key=value` words. rows.py names the keys.
class row_description {
 public:
  explicit row_description(std::istream& words) {
    for (std::string word; words >> word;) {
      const auto at = word.find('=');
      if (at == std::string::npos) throw std::runtime_error("no key=value: " + word);
      values_[word.substr(0, at)] = word.substr(at + 1);
    }
  }
  [[nodiscard]] const std::string& text(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw std::runtime_error("the row has no " + key);
    return found->second;
  }
  [[nodiscard]] index number(const std::string& key) const { return std::stol(text(key)); }
  [[nodiscard]] matrix input(const std::string& name, index rows, index cols) const {
    const std::string path = text("inputs") + "/" + name;
    matrix x(rows, cols);
    std::ifstream file(path, std::ios::binary);
    if (!file.read(
            reinterpret_cast<char*>(x.data()),
            static_cast<std::streamsize>(sizeof(float) * static_cast<std::size_t>(x.size()))))
      throw std::runtime_error("cannot read " + path);
    return x;
  }

 private:
  std::map<std::string, std::string> values_;
};

struct prepared {
  std::function<void()> call;
  std::shared_ptr<matrix> output;
};

/// Calls f(executor…): none for one thread, so that it is a plain call.
template <class F>
std::function<void()> with_executor(index threads, F f) {
  if (threads == 1) return [f] { f(); };
  const auto pool = std::make_shared<const softlook::exec::thread_pool>(threads);
  return [f, pool] { f(*pool); };
}

/// --avx2 of bench/peers/run.sh holds everyone to AVX2, where a switch for that exists.
std::optional<softlook::instruction_set> forced_set() {
  static const char* const wanted = std::getenv("SOFTLOOK_PEER_SET");
  if (wanted && std::string_view(wanted) == "avx2") return softlook::instruction_set::avx2;
  return {};
}

/// ALiBi as a user writes it, with the slopes of eight heads: 2⁻¹, 2⁻², …
struct alibi {
  float operator()(float s, std::int32_t i, std::int32_t j, std::int32_t head) const {
    return s - static_cast<float>(std::abs(i - j)) / static_cast<float>(std::int32_t{2} << head);
  }
};

/// Keys and values of a row, in as many copies as a call shall go round: with one they stay in
/// cache.
struct memories {
  struct memory {
    matrix K, V;
  };
  std::vector<memory> all;
  std::size_t turn = 0;
  const memory& next() { return all[turn++ % all.size()]; }
};

template <class... Policies>
prepared attention_with(const row_description& r, index threads, const Policies&... policies) {
  const index n = r.number("n"), m = r.number("m"), count = r.number("heads"),
              width = count * r.number("d");
  const auto Q = std::make_shared<const matrix>(r.input("Q", n, width));
  const auto memory = std::make_shared<memories>();
  memory->all.assign(static_cast<std::size_t>(r.number("copies")),
                     {r.input("K", m, width), r.input("V", m, width)});
  const auto O = std::make_shared<matrix>(n, width);
  const auto scratch = std::make_shared<softlook::workspace>();
  auto call = [=](const auto&... executor) {
    const auto& keys = memory->next();
    const softlook::options kept{.isa = forced_set(), .workspace = scratch.get()};
    if (count == 1)
      softlook::attention_into(*Q, keys.K, keys.V, *O, policies..., executor..., kept);
    else
      softlook::attention_into(*Q, keys.K, keys.V, *O, softlook::heads{.query = count}, policies...,
                               executor..., kept);
  };
  return {with_executor(threads, call), O};
}

prepared attention(const row_description& r, index threads) {
  const std::string& policy = r.text("policy");
  if (policy == "none") return attention_with(r, threads);
  if (policy == "causal") return attention_with(r, threads, masks::causal_top_left{});
  if (policy == "window") return attention_with(r, threads, masks::window_of(r.number("window")));
  if (policy == "alibi") return attention_with(r, threads, transforms::map(alibi{}));
  throw std::runtime_error("unknown policy " + policy);
}

prepared additive(const row_description& r, index threads) {
  const index n = r.number("n"), m = r.number("m"), d = r.number("d"), a = r.number("a");
  struct inputs {
    matrix Q, K, V, Wq, Wk;
    row v;
    softlook::workspace scratch{};
  };
  const auto in = std::make_shared<inputs>(inputs{r.input("Q", n, d), r.input("K", m, d),
                                                  r.input("V", m, d), r.input("Wq", d, a),
                                                  r.input("Wk", d, a), r.input("v", 1, a)});
  const auto O = std::make_shared<matrix>(n, d);
  auto call = [=](const auto&... executor) {
    softlook::attention_into(in->Q, in->K, in->V, *O, scores::additive{in->Wq, in->Wk, in->v},
                             executor...,
                             softlook::options{.isa = forced_set(), .workspace = &in->scratch});
  };
  return {with_executor(threads, call), O};
}

softlook::transformer_encoder<float> encoder_of(const row_description& r) {
  const index f = r.number("d"), h = r.number("hidden");
  std::vector<softlook::transformer_encoder_layer<float>> layers;
  for (index l = 0; l < r.number("layers"); ++l) {
    const auto weights = [&](const char* name, index rows, index cols) {
      return r.input(name + std::to_string(l), rows, cols);
    };
    softlook::transformer_encoder_layer_parameters<float> p;
    auto& attend = p.self_attention;
    attend.Wq = weights("Wq", f, f);
    attend.Wk = weights("Wk", f, f);
    attend.Wv = weights("Wv", f, f);
    attend.Wo = weights("Wo", f, f);
    attend.bq = weights("bq", 1, f);
    attend.bk = weights("bk", 1, f);
    attend.bv = weights("bv", 1, f);
    attend.bo = weights("bo", 1, f);
    p.W1 = weights("W1_", f, h);
    p.W2 = weights("W2_", h, f);
    p.b1 = weights("b1_", 1, h);
    p.b2 = weights("b2_", 1, f);
    p.gain1 = weights("gain1_", 1, f);
    p.bias1 = weights("bias1_", 1, f);
    p.gain2 = weights("gain2_", 1, f);
    p.bias2 = weights("bias2_", 1, f);
    layers.emplace_back(
        p, softlook::transformer_encoder_layer_options{.heads = {.query = r.number("heads")},
                                                       .activation = softlook::activation::gelu,
                                                       .epsilon = 1e-12});
  }
  return softlook::transformer_encoder<float>(std::move(layers));
}

prepared encoder(const row_description& r, index threads) {
  const index n = r.number("n"), f = r.number("d");
  const auto stack = std::make_shared<const softlook::transformer_encoder<float>>(encoder_of(r));
  const auto X = std::make_shared<const matrix>(r.input("X", n, f));
  const auto Y = std::make_shared<matrix>(n, f);
  const auto scratch = std::make_shared<softlook::workspace>();
  auto call = [=](const auto&... executor) {
    stack->into(*X, *Y, executor...,
                softlook::options{.isa = forced_set(), .workspace = scratch.get()});
  };
  return {with_executor(threads, call), Y};
}

prepared prepare(const row_description& r, index threads) {
  const std::string& kind = r.text("kind");
  if (kind == "attention") return attention(r, threads);
  if (kind == "additive") return additive(r, threads);
  if (kind == "encoder") return encoder(r, threads);
  throw std::runtime_error("unknown kind " + kind);
}

/// "TOTAL FASTEST" in seconds of wall time, after one call that is not timed.
std::string timed(const prepared& work, long calls) {
  using clock = std::chrono::steady_clock;
  work.call();
  double total = 0, fastest = 1e300;
  for (long k = 0; k < calls; ++k) {
    const auto start = clock::now();
    work.call();
    const double seconds = std::chrono::duration<double>(clock::now() - start).count();
    total += seconds;
    fastest = std::min(fastest, seconds);
  }
  std::ostringstream answer;
  answer << total << ' ' << fastest;
  return answer.str();
}

void write(const prepared& work, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  file.write(
      reinterpret_cast<const char*>(work.output->data()),
      static_cast<std::streamsize>(sizeof(float) * static_cast<std::size_t>(work.output->size())));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

std::string answer_to(const std::string& line, prepared& work, index threads) {
  std::istringstream words(line);
  std::string command, variant, path;
  words >> command;
  if (command == "variants") return "softlook";
  words >> variant;
  if (command == "prepare") {
    work = {};
    work = prepare(row_description(words), threads);
    work.call();
    return "0";
  }
  if (!work.call) throw std::runtime_error("nothing is prepared");
  if (command == "time") {
    long calls = 0;
    words >> calls;
    return timed(work, calls);
  }
  if (command != "write") throw std::runtime_error("unknown command " + command);
  words >> path;
  write(work, path);
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--front-end") {
    std::cout << bench::front_end_share() << '\n';
    return 0;
  }
  const softlook::index threads = argc > 1 ? std::atol(argv[1]) : 1;
  prepared work;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      const std::string answer = answer_to(line, work, threads);
      std::cout << "ok " << answer << std::endl;
    } catch (const std::exception& e) {
      std::cout << "error " << e.what() << std::endl;
    }
  }
}
