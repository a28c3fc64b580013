// The command line: `sightline <command> [options]`. Data goes to stdout, messages go to stderr.
#pragma once

namespace sightline {

// Returns the exit code: 0 success, 1 failure (the reason is on stderr), 2 wrong usage.
int RunCommandLine(int argc, char** argv);

}  // namespace sightline
