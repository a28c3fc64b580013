// What the commands that take rows of the option table share.
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

// By the key of an option.
using WantedOptions = std::function<bool(std::string_view key)>;
// Those that begin with one of these.
WantedOptions BeginningWith(std::vector<std::string_view> prefixes);

// Of `table` what is wanted, as options of `to`; what is given goes to `given`, which outlives it.
// The brokers have the short name --kafka.
void AddOptions(CLI::App& to, const std::vector<Option>& table,
                std::map<std::string, std::string>& given, const WantedOptions& wanted);

// The log begins at options.log_level. kStop: there is no such level.
Status ApplyLogLevel(const Settings& options);
// kStop: options.listen is no address, or one that other machines reach without options.insecure.
Status CheckListen(const Settings& options);

}  // namespace sightline
