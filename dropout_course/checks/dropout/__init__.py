"""What every dropout must satisfy: the plan, the evidence and the criteria that lessons share."""
