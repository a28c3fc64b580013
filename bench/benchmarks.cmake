add_executable(generate generate.cc)
target_link_libraries(generate PRIVATE fmt::fmt)

add_executable(operators_benchmark operators_benchmark.cc)
target_link_libraries(operators_benchmark PRIVATE room_operators room_pipeline room_model room_base
                      fmt::fmt benchmark::benchmark)

add_executable(http_load http_load.cc)
target_link_libraries(http_load PRIVATE Threads::Threads)

add_executable(limits limits.cc)
target_link_libraries(limits PRIVATE room_batch room_operators room_pipeline room_model room_base fmt::fmt)

add_executable(kafka_load kafka_load.cc)
target_link_libraries(kafka_load PRIVATE RdKafka::rdkafka Threads::Threads)
