#pragma once

#include "grid.hpp"

namespace conformance {

/// The linear maps around attention that belong to an origin's layer: x W + b, in double.
struct projection {
  matrix<double> W;      // in × out
  Eigen::RowVectorXd b;  // out
};

/// torch's Linear: the weight is (out, in). An empty bias name means none.
inline projection linear(const case_file& c, const std::string& weight, const std::string& bias) {
  const tensor& W = c.weight(weight, 2);
  projection p;
  p.W = Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], W.shape[1]).transpose();
  p.b = Eigen::RowVectorXd::Zero(W.shape[0]);
  if (!bias.empty()) {
    const tensor& b = c.weight(bias, 1);
    require(c, b.shape[0] == W.shape[0], bias + " does not fit " + weight);
    p.b = Eigen::Map<const Eigen::RowVectorXd>(b.values.data(), b.shape[0]);
  }
  return p;
}

/// \throws case_error  unless g has one head whose features W takes.
inline grid project(const case_file& c, const grid& g, const projection& p) {
  require(c, g.heads == 1 && g.cols == p.W.rows(), "a weight does not fit what it projects");
  grid out = grid::zeros(g.batches, 1, g.rows, p.W.cols());
  for (index b = 0; b < g.batches; ++b) {
    const matrix<double> Y = (g.head<double>(b, 0) * p.W).rowwise() + p.b;
    out.set_head<double>(b, 0, Y);
  }
  return out;
}

}  // namespace conformance
