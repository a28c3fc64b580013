// The command line: `sightline <command> [options]`. Data goes to stdout, talk to stderr.
#pragma once

namespace sightline {

// Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.
int RunCommandLine(int argc, char** argv);

}  // namespace sightline
