// Shared by the commands that take options of the option table.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// Returns whether a command takes the option with this key.
using WantedOptions = std::function<bool(std::string_view key)>;
// Wants the options whose keys begin with one of `prefixes`.
WantedOptions BeginningWith(std::vector<std::string_view> prefixes);

// Adds the wanted options of `table` to the command `to`. Values of the command line go to `given`,
// which must outlive `to`. The brokers get the short name --kafka.
void AddOptions(CLI::App& to, const std::vector<Option>& table,
                std::map<std::string, std::string>& given, const WantedOptions& wanted);

// Sets the lowest level of the log. kStop: there is no such level.
Status ApplyLogLevel(const Settings& options);
// kStop: options.listen is not an address, or other machines can reach it and options.insecure is
// not set.
Status CheckListen(const Settings& options);

}  // namespace sightline
