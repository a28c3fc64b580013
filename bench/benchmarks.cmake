add_executable(generate generate.cc)
target_link_libraries(generate PRIVATE fmt::fmt)
