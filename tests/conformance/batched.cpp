#include "batched.hpp"

#include <algorithm>
#include <stdexcept>

namespace conformance {
namespace {

// The largest case has about 10^6 scores; the naive path of one far beyond would only exhaust
// memory.
constexpr index largest_result = index{1} << 26;

bool fits(const grid& g, const attention_call& call) {
  const auto one_or = [](index extent, index full) { return extent == 1 || extent == full; };
  return one_or(g.batches, call.Q.batches) && one_or(g.heads, call.Q.heads) &&
         one_or(g.rows, call.Q.rows) && one_or(g.cols, call.K.rows);
}

}  // namespace

std::string name_of(const mode& m) {
  std::string text = m.single_precision ? "float " : "double ";
  switch (m.how) {
    case mode::path::naive:
      text += "naive";
      break;
    case mode::path::tiled:
      text += "tiled";
      break;
    case mode::path::smallest_tiles:
      text += "smallest tiles";
      break;
    case mode::path::few_queries:
      text += "few queries";
      break;
    case mode::path::automatic:
      text += "auto";
      break;
  }
  return text + " " + softlook::name_of(m.isa);
}

void check(const attention_call& call) {
  const grid &Q = call.Q, &K = call.K, &V = call.V;
  demand(Q.heads > 0 && K.heads > 0, "a call needs heads");
  demand(Q.heads % K.heads == 0, "the query heads do not divide among the key heads");
  demand(K.heads == V.heads, "keys and values differ in heads");
  demand(K.rows == V.rows, "keys and values differ in length");
  demand(K.batches == 1 || K.batches == Q.batches, "queries and keys differ in batches");
  demand(V.batches == 1 || V.batches == Q.batches, "queries and values differ in batches");
  const index rows = std::max<index>(Q.batches * Q.heads * Q.rows, 1);
  demand(K.rows <= largest_result / rows, "the score matrix is too large");
  demand(V.cols <= largest_result / rows, "the output is too large");
  demand(!call.allowed || fits(*call.allowed, call), "the mask does not fit the scores");
  demand(!call.bias || fits(*call.bias, call), "the bias does not fit the scores");
  const auto masks = static_cast<index>(call.masks.size());
  demand(masks <= 1 || masks == Q.batches, "there is not one mask for each batch");
}

}  // namespace conformance
