#pragma once

#include <string>
#include <vector>

#include <softlook/inspect/report.hpp>

#include "conversation.hpp"

namespace smollm {

/// Names of tokens as one sees them: without the space that begins a word.
std::vector<std::string> names_of(const language_model& model, const conversation& c,
                                  std::size_t begin, std::size_t end);

/// What the tokens of the last answer looked at, of all layers and heads: each weight where a head
/// has at most `most` of them, else means of blocks and the strongest keys of each token, which are
/// made of one piece of the answer after the other. Memory: that of the page, and of the weights of
/// one piece.
/// \throws std::out_of_range  if the answer is empty.
softlook::inspect::report looks_of_answer(const language_model& model, const conversation& c,
                                          const std::string& title, Eigen::Index most = 20000);

}  // namespace smollm
