"""Speed and memory beside other libraries and bare products: run by hand, kept in results.json; no test times anything."""
