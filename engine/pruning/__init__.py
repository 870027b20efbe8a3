"""What is cut and how: the channel graph, criteria, the mask solver, cost, surgery and repair."""
