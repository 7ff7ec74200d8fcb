["{{set_up}}"]
