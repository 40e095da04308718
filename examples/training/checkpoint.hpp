#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "examples/support/command_line.hpp"
#include "examples/support/safetensors.hpp"
#include "examples/training/optimiser.hpp"

// A training that goes on where it stopped, and gives the bits that it would have given without a
// stop. The file is a safetensors file: "weights.NAME", "adamw.first.NAME" and "adamw.second.NAME"
// of each matrix, whose NAME is that of for_each_parameter, and the rest as text beside them.

namespace examples {

/// What decides the shapes and the course of a training: sizes, seed, number of steps, …
using settings = std::map<std::string, std::string>;

/// How far a training is.
struct training_point {
  std::int64_t step = 0;        ///< steps that are done
  std::uint64_t generator = 0;  ///< generator::state()
};

template <class P>
void add_parameters(safetensors_writer& file, const std::string& prefix, const P& p) {
  softlook::for_each_parameter(
      [&](const std::string& name, const auto& m) { file.add(prefix + name, m); }, p);
}

/// \throws model_error  unless the file holds each matrix of p in its shape and type; what was read
///         before that stays.
template <class P>
void copy_parameters(const safetensors& file, const std::string& prefix, P& p) {
  softlook::for_each_parameter(
      [&](const std::string& name, auto& m) { file.copy_to(prefix + name, m); }, p);
}

/// \throws model_error  if the file cannot be written; the one that was there before stays.
template <class P>
void save_checkpoint(const std::filesystem::path& path, const P& weights, const adamw<P>& optimiser,
                     const training_point& at, const settings& made_with = {}) {
  safetensors_writer file;
  add_parameters(file, "weights.", weights);
  add_parameters(file, "adamw.first.", optimiser.first_moments());
  add_parameters(file, "adamw.second.", optimiser.second_moments());
  file.note("adamw.steps", std::to_string(optimiser.steps()));
  file.note("step", std::to_string(at.step));
  file.note("generator", std::to_string(at.generator));
  for (const auto& [name, value] : made_with) file.note("setting." + name, value);
  file.write(path);
}

/// A number that a checkpoint holds as text.
template <class Number>
Number number_of_checkpoint(const std::filesystem::path& path, const safetensors& file,
                            const std::string& name) {
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end())
    throw model_error(path.string() + ": \"" + name + "\" is not in the file, it is no checkpoint");
  const auto number = number_in<Number>(found->second);
  if (!number || *number < Number(0))
    throw model_error(path.string() + ": \"" + name + "\" is \"" + found->second +
                      "\", not a number from 0 on");
  return *number;
}

/// \throws model_error  unless the file says the same of each of the settings.
inline void check_settings(const std::filesystem::path& path, const safetensors& file,
                           const settings& wanted) {
  for (const auto& [name, value] : wanted) {
    const auto found = file.metadata().find("setting." + name);
    const std::string is = found == file.metadata().end() ? "not set" : found->second;
    if (found == file.metadata().end() || is != value)
      throw model_error(path.string() + ": " + name + " is " + is + " in the file but " + value +
                        " in the program");
  }
}

/// Reads what save_checkpoint() wrote, of the same settings.
/// \throws model_error  saying what is wrong; weights and optimiser are then as they were.
template <class P>
training_point load_checkpoint(const std::filesystem::path& path, P& weights, adamw<P>& optimiser,
                               const settings& wanted = {}) {
  const safetensors file(path);
  check_settings(path, file, wanted);
  const training_point at{number_of_checkpoint<std::int64_t>(path, file, "step"),
                          number_of_checkpoint<std::uint64_t>(path, file, "generator")};
  const auto steps = number_of_checkpoint<std::int64_t>(path, file, "adamw.steps");
  P read = weights, first = weights, second = weights;
  copy_parameters(file, "weights.", read);
  copy_parameters(file, "adamw.first.", first);
  copy_parameters(file, "adamw.second.", second);
  optimiser.resume(first, second, steps);
  weights = std::move(read);
  return at;
}

/// Only the weights, for who wants to use them.
/// \throws model_error  saying what is wrong; the weights are then as they were.
template <class P>
void load_weights(const std::filesystem::path& path, P& weights, const settings& wanted = {}) {
  const safetensors file(path);
  check_settings(path, file, wanted);
  P read = weights;
  copy_parameters(file, "weights.", read);
  weights = std::move(read);
}

}  // namespace examples
