#include <memory>
#include <nlohmann/json.hpp>

#include "adapters.hpp"
#include "examples/minilm/encoder.hpp"

/// The sentence encoder of examples/minilm/ on the real weights: tokens exactly, the embedding and
/// what each head of some layers looks at.
namespace conformance {
namespace {

using minilm::sentence_encoder;

/// attr text is a JSON string.
std::string text_of(const case_file& c) {
  const auto text = nlohmann::json::parse(c.text("text"), nullptr, false);
  require(c, text.is_string(), "text is not a JSON string");
  return text.get<std::string>();
}

void check_tokens(const case_file& c, const std::vector<int>& ids) {
  const tensor& t = c.input("token_ids", 1);
  const std::vector<index> wanted = integers_of(c, t);
  if (std::equal(ids.begin(), ids.end(), wanted.begin(), wanted.end())) return;
  std::string got;
  for (const int id : ids) got += ' ' + std::to_string(id);
  c.fail(t.line, "the tokenizer gives other ids:" + got);
}

/// The heads of a layer, (heads, tokens, tokens).
produced maps_of(const std::vector<minilm::float_matrix>& heads) {
  produced p;
  p.shape = {static_cast<index>(heads.size()), heads.at(0).rows(), heads.at(0).cols()};
  for (const auto& W : heads) p.values.insert(p.values.end(), W.data(), W.data() + W.size());
  return p;
}

outputs encode(const sentence_encoder& model, const case_file& c, const mode& m) {
  const std::vector<int> ids = model.tokenizer().encode(text_of(c));
  check_tokens(c, ids);
  const sentence_encoder::pool threads(1);
  const softlook::options how = m.options(std::nullopt);
  const Eigen::RowVectorXf embedding = model.embedding(ids, threads, how);
  outputs out;
  out["embedding"] = {
      {embedding.size()}, {embedding.data(), embedding.data() + embedding.size()}, 0};
  for (index layer = 0; layer < model.layers(); ++layer) {
    const std::string name = "attention_layer" + std::to_string(layer);
    if (c.expects(name)) out[name] = maps_of(model.attention(ids, layer, threads, how));
  }
  return out;
}

}  // namespace

void add_minilm_adapter(adapter_table& table, const std::filesystem::path& folder) {
  const auto model = std::make_shared<std::optional<sentence_encoder>>();
  table["minilm.encode"] = [folder, model](const case_file& c, const mode& m) {
    if (folder.empty())
      throw unsupported("the model's weights are not here: sh examples/run.sh fetches them");
    if (!m.single_precision) throw not_in_this_mode();
    if (!*model) model->emplace(folder);
    return encode(**model, c, m);
  };
}

}  // namespace conformance
