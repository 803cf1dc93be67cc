"""The sagemaker-clarify-processing image: bias, explanations and reports as analysis_config.json asks for them.

__main__     reads the configuration, runs the analyses, writes analysis.json and the reports
config       analysis_config.json: what is allowed, and what it means
dataset      the dataset's formats into one table
predictor    the model's endpoint (made for the job where only a model is named), asked in batches
requests     rows → request bodies by templates; answers → scores and labels
bias         pre- and post-training bias
shap         Kernel SHAP of tables and text
vision       Kernel SHAP of pictures: superpixels of a classification or of detected objects
pictures     a dataset of pictures, what the model is sent of them and answers
drawings     the heat maps
pdp          partial dependence
series       asymmetric Shapley values of forecasts
report       report.html, report.pdf, report.ipynb
"""
